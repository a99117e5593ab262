package main

import (
	"context"
	"testing"
)

// Every comparison runs; its figures are nobody's promise here.
func TestComparisonsRun(t *testing.T) {
	if err := run(context.Background(), 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), 1, []string{"nonsense"}); err == nil {
		t.Error("an unknown comparison ran")
	}
}
