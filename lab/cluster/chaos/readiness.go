package chaos

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pghealth"
)

const (
	// probeInterval is how often readiness is asked for.
	probeInterval = 250 * time.Millisecond
	// readinessLimit is when readiness must have noticed that the database is gone: the probe's
	// interval, the age its answer may have, the time it waits for one; and as much again as a busy
	// machine takes.
	readinessLimit = 2*probeInterval + pghealth.DefaultMaxAge + pghealth.DefaultTimeout
	// shortPause is the shortest pause of writes that a 503 may be due to. The load writes every
	// few milliseconds.
	shortPause = time.Second
)

// readiness asks a service's readiness handler, as an orchestrator does.
type readiness struct {
	probe *pghealth.Probe
	mu    sync.Mutex
	seen  []answer
}

type answer struct {
	at    time.Time
	ready bool
	text  string // of an answer that is not ready
}

func newReadiness(pool *pgxpool.Pool) (*readiness, error) {
	probe, err := pghealth.New(pool, pghealth.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &readiness{probe: probe}, nil
}

func (r *readiness) run(ctx context.Context) {
	ready := r.probe.Details() // Ready's answers, with the reason
	for ctx.Err() == nil {
		recorder := httptest.NewRecorder()
		ready.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		a := answer{at: time.Now(), ready: recorder.Code == http.StatusOK}
		if !a.ready {
			a.text = strings.Join(strings.Fields(recorder.Body.String()), " ")
		}
		r.mu.Lock()
		r.seen = append(r.seen, a)
		r.mu.Unlock()
		sleep(ctx, probeInterval)
	}
}

// up reports whether the last answer was that the service is ready.
func (r *readiness) up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen) > 0 && r.seen[len(r.seen)-1].ready
}

// Readiness is how the probe followed the longest pause of writes.
type Readiness struct {
	Long  bool          // the pause was long enough for the probe to notice
	Down  time.Duration // from the last write before the pause to the first 503; 0: there was none
	Up    time.Duration // from the first write after the pause to the first 200 that stayed; 0: it was up by then
	False int           // answers of 503 while writes went on
	Why   string        // the first of them
}

// judge compares the answers since the fault with the pauses of writes. A fault can cause several
// pauses: a frozen primary loses its role, and its successor may lose it again. An answer of 503 is
// false if it falls into none of them.
func (r *readiness) judge(fault time.Time, longest span, pauses []span) Readiness {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := Readiness{Long: longest.length() > readinessLimit}
	for _, a := range r.seen {
		switch {
		case a.ready, a.at.Before(fault) && a.at.Before(longest.start):
			continue
		case within(a.at, longest):
			if result.Down == 0 {
				result.Down = a.at.Sub(longest.start)
			}
			result.Up = max(0, a.at.Sub(longest.end))
		case !slices.ContainsFunc(pauses, func(s span) bool { return within(a.at, s) }):
			if result.False++; result.Why == "" {
				result.Why = a.text
			}
		}
	}
	if result.Up > 0 {
		result.Up += probeInterval
	}
	return result
}

// within reports whether an answer may be due to a pause: the probe's answer may be old by
// readinessLimit.
func within(at time.Time, s span) bool {
	return !at.Before(s.start) && !at.After(s.end.Add(readinessLimit))
}
