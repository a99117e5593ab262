package prisma

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// Every side does its operations, and Prisma's driver reports them. The test needs BENCH_PRISMA=1
// unless the comparison has run here before, because it installs 300 MB from the npm registry.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prisma on Node")
	}
	folder, err := cacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); err != nil && os.Getenv("BENCH_PRISMA") == "" {
		t.Skip("Prisma is not installed: BENCH_PRISMA=1 installs it")
	}
	installing, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	_, _, err = install(installing)
	cancel()
	if no := (*noPrismaError)(nil); errors.As(err, &no) {
		t.Skipf("Prisma cannot be installed here: %v", no)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	r := &harness.Report{Out: &said}
	if err := run(t.Context(), r, 1, plan{conns: 2, warmUp: 2, count: manyCallers}); err != nil {
		t.Fatal(err)
	}
	t.Log(said.String())
	if want := 3*3 + 3; len(r.Tables) != want {
		t.Errorf("%d tables, want %d", len(r.Tables), want)
	}
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			if row.Time.Median <= 0 && !strings.Contains(table.Title, "processor") {
				t.Errorf("%s: %s took %v", table.Title, row.Name, row.Time)
			}
		}
	}
}

func TestWithoutNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var said strings.Builder
	if err := run(t.Context(), &harness.Report{Out: &said}, 1, plan{}); err != nil {
		t.Fatal(err)
	}
	if want := "prisma is skipped: node is not in PATH"; !strings.Contains(said.String(), want) {
		t.Errorf("said %q, want %q", said.String(), want)
	}
}
