package guides_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"

	"github.com/page-builder/persistence/examples/pages/observability"
)

var (
	metric      = regexp.MustCompile(`db_client_connection_\w+`)
	description = regexp.MustCompile(`fqName: "(\w+)"`)
)

// checkAlerts: the rules ask for metrics that the example exports.
func checkAlerts(text []byte) error {
	var a alerts
	if err := yaml.UnmarshalStrict(text, &a); err != nil {
		return err
	}
	var exported []string
	descriptions := make(chan *prometheus.Desc, 32)
	observability.NewPrometheus("app").Describe(descriptions)
	close(descriptions)
	for d := range descriptions {
		exported = append(exported, description.FindStringSubmatch(d.String())[1])
	}
	var errs []error
	for _, g := range a.Groups {
		for _, r := range g.Rules {
			if _, err := time.ParseDuration(r.For); err != nil {
				errs = append(errs, err)
			}
			for _, name := range metric.FindAllString(r.Expr, -1) {
				if !slices.Contains(exported, name) && !slices.Contains(exported, strings.TrimSuffix(name, "_bucket")) {
					errs = append(errs, fmt.Errorf("nothing exports %s", name))
				}
			}
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				errs = append(errs, fmt.Errorf("parentheses of %s", r.Expr))
			}
		}
	}
	return errors.Join(errs...)
}
