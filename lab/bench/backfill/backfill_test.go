package backfill

import (
	"os"
	"strings"
	"testing"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// Every way copies a small table; after a kill no row is skipped or copied twice.
func TestRun(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	r := &harness.Report{Out: &said}
	if err := runWith(t.Context(), r, 1, []int{20_000}); err != nil {
		t.Fatal(err)
	}
	t.Log(said.String())
	for _, want := range []string{"backfill", "most lag", "in the end 0 rows are missing and 0 were copied twice"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in the report", want)
		}
	}
}

// TestChild is the process that the comparison kills.
func TestChild(t *testing.T) {
	url := os.Getenv(workerURL)
	if url == "" {
		t.Skip("the other test starts it")
	}
	if err := work(t.Context(), url); err != nil {
		t.Fatal(err)
	}
}
