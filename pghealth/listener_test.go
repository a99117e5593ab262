package pghealth_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// listener is a LISTEN on its own connection.
type listener struct {
	mu    sync.Mutex
	since time.Time
	err   error
	ended chan struct{}
}

func (l *listener) Alive() (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.err
}

func (l *listener) run(ctx context.Context, conn *pgx.Conn) {
	l.since, l.err, l.ended = time.Now(), nil, make(chan struct{})
	go func() {
		defer close(l.ended)
		_, err := conn.WaitForNotification(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.since, l.err = time.Now(), err
	}()
}

// The server ends the session of a LISTEN.
func TestListenerThatIsKilled(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	conn, admin := connect(t, url), connect(t, url)
	execute(t, conn, "listen pages")
	var l listener
	ctx, cancel := context.WithCancel(t.Context())
	l.run(ctx, conn)
	defer func() { cancel(); <-l.ended }()

	pool := newPool(t, url)
	probe, log := newProbe(t, pool, pghealth.Options{Listener: &l, Timeout: faultTimeout})
	strict, _ := newProbe(t, pool, pghealth.Options{
		Listener: &l, Timeout: faultTimeout,
		MaxListenerDown: 300 * time.Millisecond,
	})
	both, stopped := serveBoth(t, pool, probe), serveBoth(t, pool, strict)
	both.want(want{http.StatusOK, "listener", "pass", "", ""})
	stopped.want(want{http.StatusOK, "listener", "pass", "", ""})

	if _, err := admin.Exec(t.Context(), "select pg_terminate_backend($1)", int32(conn.PgConn().PID())); err != nil {
		t.Fatal(err)
	}
	<-l.ended
	both.want(want{
		http.StatusOK, "listener", "warn", "shutdown",
		"LISTEN is not established: notifications do not arrive",
	})
	if c := stopped.want(want{
		http.StatusServiceUnavailable, "listener", "fail", "shutdown",
		"LISTEN is not established: notifications do not arrive",
	}); c.ObservedUnit != "s" || *c.ObservedValue < 0.3 {
		t.Errorf("%+v", c)
	}
	if lines := log.lines(); len(lines) != 1 {
		t.Errorf("log: %s", log)
	}
}

func TestListenerThatMisbehaves(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	t.Cleanup(func() { close(leave) })
	tests := map[string]struct {
		alive pghealth.ListenerFunc
		want  want
	}{
		"hangs": {
			func() (time.Time, error) { <-leave; return time.Time{}, nil },
			want{503, "listener", "fail", "timeout", "the listener does not report its status in time"},
		},
		"panics": {
			func() (time.Time, error) { panic("select a secret") },
			want{503, "listener", "fail", "unknown", "the check panicked"},
		},
		"was never up": {
			func() (time.Time, error) { return time.Time{}, errors.New("select a secret") },
			want{200, "listener", "warn", "", "LISTEN is not established: notifications do not arrive"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, pgserver.Database(t))
			probe, _ := newProbe(t, pool, pghealth.Options{
				Listener: test.alive, Timeout: faultTimeout,
				MaxListenerDown: time.Hour,
			})
			serveBoth(t, pool, probe).want(test.want)
			tolerant, _ := newProbe(t, pool, pghealth.Options{Listener: test.alive, Timeout: faultTimeout})
			test.want.code, test.want.status = 200, "warn"
			serveBoth(t, pool, tolerant).want(test.want)
		})
	}
}
