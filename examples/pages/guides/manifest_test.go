package guides_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

// These types have the keys that the guides' manifests use. An unknown key is a spelling mistake,
// or is missing here.
type (
	manifest struct {
		APIVersion string        `yaml:"apiVersion"`
		Kind       string        `yaml:"kind"`
		Metadata   metadata      `yaml:"metadata"`
		Spec       yaml.MapSlice `yaml:"spec"`
	}
	metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	deployment struct {
		Replicas int      `yaml:"replicas"`
		Selector selector `yaml:"selector"`
		Strategy struct {
			RollingUpdate map[string]int `yaml:"rollingUpdate"`
		} `yaml:"strategy"`
		Template template `yaml:"template"`
	}
	job struct {
		BackoffLimit     int `yaml:"backoffLimit"`
		ActiveDeadline   int `yaml:"activeDeadlineSeconds"`
		PodFailurePolicy struct {
			Rules []struct {
				Action      string `yaml:"action"`
				OnExitCodes struct {
					ContainerName string `yaml:"containerName"`
					Operator      string `yaml:"operator"`
					Values        []int  `yaml:"values"`
				} `yaml:"onExitCodes"`
			} `yaml:"rules"`
		} `yaml:"podFailurePolicy"`
		Template template `yaml:"template"`
	}
	disruptionBudget struct {
		MaxUnavailable int      `yaml:"maxUnavailable"`
		Selector       selector `yaml:"selector"`
	}
	template struct {
		Metadata metadata `yaml:"metadata"`
		Spec     struct {
			RestartPolicy  string      `yaml:"restartPolicy"`
			Grace          int         `yaml:"terminationGracePeriodSeconds"`
			InitContainers []container `yaml:"initContainers"`
			Containers     []container `yaml:"containers"`
			Volumes        []struct {
				Name   string `yaml:"name"`
				Secret struct {
					SecretName string `yaml:"secretName"`
				} `yaml:"secret"`
			} `yaml:"volumes"`
		} `yaml:"spec"`
	}
	container struct {
		Name      string                       `yaml:"name"`
		Image     string                       `yaml:"image"`
		Command   []string                     `yaml:"command"`
		Args      []string                     `yaml:"args"`
		Ports     []map[string]int             `yaml:"ports"`
		Resources map[string]map[string]string `yaml:"resources"`
		Env       []struct {
			Name      string                       `yaml:"name"`
			Value     string                       `yaml:"value"`
			ValueFrom map[string]map[string]string `yaml:"valueFrom"`
		} `yaml:"env"`
		VolumeMounts []struct {
			Name      string `yaml:"name"`
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
		Startup   *probe `yaml:"startupProbe"`
		Readiness *probe `yaml:"readinessProbe"`
		Liveness  *probe `yaml:"livenessProbe"`
	}
	probe struct {
		HTTPGet struct {
			Path string `yaml:"path"`
			Port int    `yaml:"port"`
		} `yaml:"httpGet"`
		Period    int `yaml:"periodSeconds"`
		Timeout   int `yaml:"timeoutSeconds"`
		Threshold int `yaml:"failureThreshold"`
	}
	compose struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Environment map[string]string `yaml:"environment"`
			Command     string            `yaml:"command"`
			Tmpfs       string            `yaml:"tmpfs"`
			Ports       []string          `yaml:"ports"`
			HealthCheck struct {
				Test     []string `yaml:"test"`
				Interval string   `yaml:"interval"`
				Retries  int      `yaml:"retries"`
			} `yaml:"healthcheck"`
		} `yaml:"services"`
	}
	workflow struct {
		Jobs map[string]struct {
			RunsOn   string `yaml:"runs-on"`
			Services map[string]struct {
				Image   string            `yaml:"image"`
				Env     map[string]string `yaml:"env"`
				Ports   []string          `yaml:"ports"`
				Options string            `yaml:"options"`
			} `yaml:"services"`
			Env   map[string]string `yaml:"env"`
			Steps []struct {
				Uses string            `yaml:"uses"`
				With map[string]string `yaml:"with"`
				Run  string            `yaml:"run"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	patroni struct {
		Scope string `yaml:"scope"`
		Name  string `yaml:"name"`
		Etcd  struct {
			Hosts []string `yaml:"hosts"`
		} `yaml:"etcd"`
		RestAPI struct {
			Listen         string `yaml:"listen"`
			ConnectAddress string `yaml:"connect_address"`
		} `yaml:"restapi"`
		Bootstrap struct {
			DCS struct {
				TTL               int  `yaml:"ttl"`
				LoopWait          int  `yaml:"loop_wait"`
				RetryTimeout      int  `yaml:"retry_timeout"`
				SynchronousMode   bool `yaml:"synchronous_mode"`
				SynchronousStrict bool `yaml:"synchronous_mode_strict"`
				PostgreSQL        struct {
					UsePgRewind bool              `yaml:"use_pg_rewind"`
					UseSlots    bool              `yaml:"use_slots"`
					Parameters  map[string]string `yaml:"parameters"`
				} `yaml:"postgresql"`
			} `yaml:"dcs"`
		} `yaml:"bootstrap"`
	}
	alerts struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
)

func TestManifests(t *testing.T) {
	t.Parallel()
	kinds := map[string]int{}
	for _, g := range guides(t) {
		for _, b := range g.of("yaml") {
			for document := range strings.SplitSeq(b.text, "\n---\n") {
				kind, err := check([]byte(document))
				if err != nil {
					t.Errorf("%s: %v", b, err)
				}
				kinds[kind]++
			}
		}
	}
	for _, kind := range []string{
		"Deployment", "Job", "PodDisruptionBudget", "compose", "workflow", "alerts", "patroni",
	} {
		if kinds[kind] == 0 {
			t.Errorf("no %s in the guides: %v", kind, kinds)
		}
	}
}

func check(text []byte) (kind string, err error) {
	keys := yaml.MapSlice{}
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return "", err
	}
	has := func(key string) bool {
		return slices.ContainsFunc(keys, func(i yaml.MapItem) bool { return i.Key == key })
	}
	switch {
	case has("services"):
		return "compose", yaml.UnmarshalStrict(text, &compose{})
	case has("jobs"):
		return "workflow", yaml.UnmarshalStrict(text, &workflow{})
	case has("etcd"):
		return "patroni", yaml.UnmarshalStrict(text, &patroni{})
	case has("groups"):
		return "alerts", checkAlerts(text)
	}
	var m manifest
	if err := yaml.UnmarshalStrict(text, &m); err != nil {
		return "", err
	}
	spec, err := yaml.Marshal(m.Spec)
	if err != nil {
		return "", err
	}
	switch m.APIVersion + " " + m.Kind {
	case "apps/v1 Deployment":
		var d deployment
		err = errors.Join(yaml.UnmarshalStrict(spec, &d), pod(d.Template))
		if l := d.Selector.MatchLabels["app"]; l == "" || l != d.Template.Metadata.Labels["app"] {
			err = errors.Join(err, errors.New("the selector does not match the template's labels"))
		}
	case "batch/v1 Job":
		var j job
		err = errors.Join(yaml.UnmarshalStrict(spec, &j), pod(j.Template))
		for _, r := range j.PodFailurePolicy.Rules {
			if r.OnExitCodes.ContainerName != j.Template.Spec.Containers[0].Name {
				err = errors.Join(err, errors.New("a rule for a container that is not there"))
			}
		}
	case "policy/v1 PodDisruptionBudget":
		err = yaml.UnmarshalStrict(spec, &disruptionBudget{})
	default:
		err = fmt.Errorf("no test knows %s %s", m.APIVersion, m.Kind)
	}
	return m.Kind, err
}

// pod checks that the manifests of services and migrations fit each other.
func pod(p template) error {
	var errs []error
	mounted := map[string]bool{}
	for _, v := range p.Spec.Volumes {
		mounted[v.Name] = true
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, e := range c.Env {
			if !isVariable(e.Name) {
				errs = append(errs, fmt.Errorf("nothing reads %s", e.Name))
			}
		}
		for _, v := range c.VolumeMounts {
			if !mounted[v.Name] {
				errs = append(errs, fmt.Errorf("no volume %s", v.Name))
			}
		}
		for path, probe := range map[string]*probe{
			"/startupz": c.Startup, "/readyz": c.Readiness, "/livez": c.Liveness,
		} {
			if probe != nil && (probe.HTTPGet.Path != path || probe.HTTPGet.Port != c.Ports[0]["containerPort"] ||
				probe.Timeout < 1 || probe.Threshold < 2) {
				errs = append(errs, fmt.Errorf("the probe of %s: %+v", path, *probe))
			}
		}
		if c.Readiness != nil && p.Spec.Grace < 3*c.Readiness.Period*c.Readiness.Threshold {
			errs = append(errs, fmt.Errorf("%d s of grace are too few", p.Spec.Grace))
		}
	}
	return errors.Join(errs...)
}
