package health

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// pghealth stays ready while the application is busy, but not while the server is frozen.
func TestRun(t *testing.T) {
	t.Parallel()
	ctx, r := t.Context(), &harness.Report{Out: t.Output()}
	_, url := harness.StartServer(t, nil)
	if err := times(ctx, r, url, 1); err != nil {
		t.Error(err)
	}
	if err := floods(ctx, r, url, 4); err != nil {
		t.Error(err)
	}
	const no, yes = http.StatusServiceUnavailable, http.StatusOK
	var wrong []string
	for range 3 { // on a busy machine a prober may once reach its own limit
		results, err := faults(ctx, r, fault.NewProxy(t, url, fault.Options{}), 1)
		if err != nil {
			t.Fatal(err)
		}
		wrong = nil
		for i, want := range []struct{ exhausted, frozen int }{{no, no}, {no, no}, {yes, no}, {yes, no}, {yes, no}} {
			if got := results[i]; got.exhausted.codes[want.exhausted] != 1 || got.frozen.codes[want.frozen] != 1 {
				wrong = append(wrong, fmt.Sprintf("%s: exhausted %s, frozen %s, want %v", probers[i].name,
					got.exhausted, got.frozen, want))
			}
		}
		if wrong == nil {
			return
		}
	}
	t.Error(wrong)
}
