package cluster_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/page-builder/persistence/lab/cluster"
)

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := cluster.Start(t.Context(), cluster.Options{})
	if runtime.GOOS != "linux" {
		if err == nil {
			t.Error("no error")
		}
		return
	}
	var missing *cluster.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("%v, want a MissingError", err)
	}
	if !errors.As(cluster.Check(), &missing) {
		t.Error("Check does not tell")
	}
	for _, name := range []string{"patroni", "etcd-server", "haproxy", "pgbouncer"} {
		if !slices.Contains(missing.Packages, name) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	if !strings.Contains(err.Error(), "apt-get install") {
		t.Error(err)
	}
}
