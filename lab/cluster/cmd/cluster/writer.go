package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtx"
)

// writer is a small service that keeps writing, listens to its own notifications, and has a
// readiness probe.
type writer struct {
	name, table string
	pool        *pgxpool.Pool
	probe       *pghealth.Probe
	direct      *pgx.ConnConfig

	mu           sync.Mutex
	acknowledged []int
	unknown      int
	failed       map[pgerr.Category]int // errors that the caller saw
	retried      int
	last         time.Time // of the last acknowledged write
	gap          time.Duration
	heard        int
	notReady     time.Duration
}

func newWriter(ctx context.Context, name string, cfg pgconfig.Config) (*writer, error) {
	w := &writer{name: name, table: pgx.Identifier{name}.Sanitize(), failed: map[pgerr.Category]int{}}
	var err error
	if w.direct, err = cfg.DirectConfig(); err != nil {
		return nil, err
	}
	if w.pool, err = pgpool.Connect(ctx, cfg, pgpool.WithLogger(nil)); err != nil {
		return nil, err
	}
	if w.probe, err = pghealth.New(w.pool, pghealth.Options{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		w.pool.Close()
		return nil, err
	}
	if _, err := w.pool.Exec(ctx, "create table "+w.table+" (n int not null)"); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *writer) close() {
	w.probe.Close()
	w.pool.Close()
}

// write inserts a number every ten milliseconds and notifies its listener.
func (w *writer) write(ctx context.Context) {
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	opts := pgtx.Options{VerifyCommit: true, Observe: func(_ context.Context, r pgtx.Report) {
		if r.Attempt > 1 {
			w.mu.Lock()
			w.retried++
			w.mu.Unlock()
		}
	}}
	for n := 1; ctx.Err() == nil; <-pace.C {
		err := pgtx.RunWith(ctx, w.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into "+w.table+" values ($1)", n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "select pg_notify($1, $2::text)", w.name, fmt.Sprint(n))
			return err
		})
		if ctx.Err() != nil && err != nil {
			return
		}
		var unknown *pgtx.CommitUnknownError
		w.mu.Lock()
		switch {
		case err == nil:
			w.acknowledged = append(w.acknowledged, n)
			now := time.Now()
			if !w.last.IsZero() {
				w.gap = max(w.gap, now.Sub(w.last))
			}
			w.last = now
			n++
		case errors.As(err, &unknown):
			w.unknown++
			n++ // it may be there
		default:
			w.failed[pgerr.Of(err)]++
		}
		w.mu.Unlock()
	}
}

// listen receives the notifications, and reads what was written while it was not connected.
func (w *writer) listen(ctx context.Context) error {
	listener, err := listen.NewConfig(w.direct, listen.WithLogger(nil))
	if err != nil {
		return err
	}
	know := func(n int) {
		w.mu.Lock()
		w.heard = max(w.heard, n)
		w.mu.Unlock()
	}
	err = listener.Handle(w.name,
		func(_ context.Context, got *pgconn.Notification) error {
			var n int
			_, err := fmt.Sscan(got.Payload, &n)
			know(n)
			return err
		},
		func(ctx context.Context, conn *pgx.Conn) error {
			var n int
			err := conn.QueryRow(ctx, "select coalesce(max(n), 0) from "+w.table).Scan(&n)
			know(n)
			return err
		},
	)
	if err != nil {
		return err
	}
	if err := listener.Listen(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// watch polls the readiness probe, as a load balancer does.
func (w *writer) watch(ctx context.Context) {
	const every = 100 * time.Millisecond
	handler, pace := w.probe.Ready(), time.NewTicker(every)
	defer pace.Stop()
	for last := time.Now(); ctx.Err() == nil; <-pace.C {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
		now := time.Now()
		if answer.Code != http.StatusOK {
			w.mu.Lock()
			w.notReady += now.Sub(last)
			w.mu.Unlock()
		}
		last = now
	}
}

// progress returns the number of acknowledged writes and the last number that was heard.
func (w *writer) progress() (written, heard int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acknowledged), w.heard
}

// missing counts acknowledged numbers that are missing, and numbers that are there more than once.
func (w *writer) missing(ctx context.Context) (lost, twice int, err error) {
	rows, err := w.pool.Query(ctx, "select n, count(*) from "+w.table+" group by 1")
	if err != nil {
		return 0, 0, err
	}
	times := map[int]int{}
	var n, count int
	if _, err := pgx.ForEachRow(rows, []any{&n, &count}, func() error { times[n] = count; return nil }); err != nil {
		return 0, 0, err
	}
	for _, n := range w.acknowledged {
		if times[n] == 0 {
			lost++
		}
	}
	for _, count := range times {
		if count > 1 {
			twice++
		}
	}
	return lost, twice, nil
}
