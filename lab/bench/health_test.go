package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// What each answers is the subject of the comparison: pghealth stays ready while the application is
// busy, and does not when the server is frozen.
func TestHealthsRun(t *testing.T) {
	ctx, r := t.Context(), &report{Writer: t.Output()}
	url, drop, err := database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer drop()
	if err := probeTimes(ctx, r, url, 1); err != nil {
		t.Error(err)
	}
	server, err := startServer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer server.remove()
	if err := probeFloods(ctx, r, server, 4); err != nil {
		t.Error(err)
	}
	var wrong []string
	for range 3 { // the probers have limits of their own, which a busy machine may reach once
		if wrong, err = wrongAnswers(ctx, r, server); err != nil {
			t.Fatal(err)
		}
		if len(wrong) == 0 {
			return
		}
	}
	t.Error(wrong)
}

func wrongAnswers(ctx context.Context, r *report, server *ownServer) (wrong []string, err error) {
	const callers = 1
	results, err := probeFaults(ctx, r, server, callers)
	if err != nil {
		return nil, err
	}
	for i, want := range []struct {
		prober            string
		exhausted, frozen int
	}{
		{"health, pool.Ping, no cache", http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		{"health, pool.Ping", http.StatusServiceUnavailable, http.StatusServiceUnavailable},
		{"health-go, pgx5", http.StatusOK, http.StatusServiceUnavailable},
		{"pghealth", http.StatusOK, http.StatusServiceUnavailable},
		{"pghealth, MaxAge: -1", http.StatusOK, http.StatusServiceUnavailable},
	} {
		got := results[i]
		if probers[i].name != want.prober || got.exhausted.codes[want.exhausted] != callers ||
			got.frozen.codes[want.frozen] != callers {
			wrong = append(wrong,
				fmt.Sprintf("%s: %s while the pool was exhausted, %s while the server was frozen, want %d and %d",
					probers[i].name, got.exhausted, got.frozen, want.exhausted, want.frozen))
		}
	}
	return wrong, nil
}
