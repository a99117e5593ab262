package main

import (
	"context"
	"testing"
)

// The quick comparisons run; their figures are nobody's promise here.
func TestComparisonsRun(t *testing.T) {
	if err := run(context.Background(), 1, []string{"query", "transaction", "database"}); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), 1, []string{"nonsense"}); err == nil {
		t.Error("an unknown comparison ran")
	}
}
