package chaos

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
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
}

func newReadiness(pool *pgxpool.Pool) (*readiness, error) {
	probe, err := pghealth.New(pool, pghealth.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return &readiness{probe: probe}, nil
}

func (r *readiness) run(ctx context.Context) {
	ready := r.probe.Ready()
	for ctx.Err() == nil {
		recorder := httptest.NewRecorder()
		ready.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		r.mu.Lock()
		r.seen = append(r.seen, answer{time.Now(), recorder.Code == http.StatusOK})
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

// Readiness is how the probe followed a pause of writes.
type Readiness struct {
	Long  bool          // the pause was long enough for the probe to notice
	Down  time.Duration // from the last write before the pause to the first 503; 0: there was none
	Up    time.Duration // from the first write after the pause to the first 200 that stayed; 0: it was up by then
	False int           // answers of 503 while writes went on
}

// judge compares the answers since the fault came with a pause of writes.
func (r *readiness) judge(fault, start time.Time, length time.Duration) Readiness {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := start.Add(length)
	result := Readiness{Long: length > readinessLimit}
	for _, a := range r.seen {
		switch {
		case a.ready, a.at.Before(fault) && a.at.Before(start):
			continue
		case a.at.Before(start), a.at.After(end.Add(readinessLimit)):
			result.False++
			continue
		case result.Down == 0:
			result.Down = a.at.Sub(start)
		}
		result.Up = max(0, a.at.Sub(end))
	}
	if result.Up > 0 {
		result.Up += probeInterval
	}
	return result
}
