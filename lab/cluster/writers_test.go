package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/cluster"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtx"
)

// writer writes and listens over one way to connect.
type writer struct {
	name, table  string
	pool         *pgxpool.Pool
	acknowledged []int // Run returned nil
	unknown      int
	written      atomic.Int64
	heard        atomic.Int64 // the highest number in a notification
}

// writers migrates over each way to connect, and then writes and listens until the test ends. Every
// acknowledged write must be there exactly once. The returned function waits until all of them have
// written and heard something new.
func writers(t *testing.T, c *cluster.Cluster) (works func()) {
	running, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var all errgroup.Group
	var writers []*writer
	for name, environ := range ways(c) {
		cfg := load(t, environ)
		migrate(t, cfg)
		w := newWriter(t, name, cfg)
		writers = append(writers, w)
		all.Go(func() error { return w.listen(running, cfg) })
		all.Go(func() error { return w.write(running) })
	}
	t.Cleanup(func() {
		stop()
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
		for _, w := range writers {
			w.check(t)
			w.pool.Close()
		}
	})
	return func() {
		t.Helper()
		for _, w := range writers {
			from := w.written.Load()
			eventually(t, func() error {
				if n, heard := w.written.Load(), w.heard.Load(); n < from+5 || heard <= from {
					return fmt.Errorf("%s: %d written and %d heard, from %d", w.name, n, heard, from)
				}
				return nil
			})
		}
	}
}

func migrate(t *testing.T, cfg pgconfig.Config) {
	t.Helper()
	direct, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	migrator, err := pgmigrate.New(direct, migrations.FS, pgmigrate.WithLogger(quiet()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newWriter(t *testing.T, name string, cfg pgconfig.Config) *writer {
	t.Helper()
	pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	table := pgx.Identifier{name}.Sanitize()
	// There is no key, so a write that is applied twice shows.
	if _, err := pool.Exec(t.Context(), "create table "+table+" (n int not null)"); err != nil {
		t.Fatal(err)
	}
	return &writer{name: name, table: table, pool: pool}
}

// write inserts the numbers from 1 until ctx ends. It repeats each until Run returns nil or an
// unknown outcome.
func (w *writer) write(ctx context.Context) error {
	pace := time.NewTicker(10 * time.Millisecond) // this is no benchmark
	defer pace.Stop()
	for n := 1; ctx.Err() == nil; <-pace.C {
		err := pgtx.RunWith(ctx, w.pool, pgtx.Options{VerifyCommit: true}, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into "+w.table+" values ($1)", n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "select pg_notify($1, $2::text)", w.name, fmt.Sprint(n))
			return err
		})
		var unknown *pgtx.CommitUnknownError
		switch {
		case err == nil:
			w.acknowledged = append(w.acknowledged, n)
			w.written.Store(int64(n))
			n++
		case errors.As(err, &unknown):
			w.unknown++
			n++
		}
	}
	return nil
}

func (w *writer) listen(ctx context.Context, cfg pgconfig.Config) error {
	listener, err := listen.New(cfg, listen.WithLogger(nil))
	if err != nil {
		return err
	}
	err = listener.Handle(w.name,
		func(_ context.Context, got *pgconn.Notification) error {
			var n int64
			_, err := fmt.Sscan(got.Payload, &n)
			w.heard.Store(n)
			return err
		},
		nil,
	)
	if err != nil {
		return err
	}
	if err := listener.Listen(ctx); ctx.Err() == nil {
		return fmt.Errorf("%s: the listener ended: %w", w.name, err)
	}
	return nil
}

// check compares the acknowledged writes with the table.
func (w *writer) check(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	rows, err := w.pool.Query(ctx, "select n, count(*) from "+w.table+" group by 1")
	if err != nil {
		t.Error(err)
		return
	}
	times := map[int]int{}
	var n, count int
	if _, err := pgx.ForEachRow(rows, []any{&n, &count}, func() error { times[n] = count; return nil }); err != nil {
		t.Error(err)
	}
	for _, n := range w.acknowledged {
		if times[n] != 1 {
			t.Errorf("%s: %d was acknowledged and is there %d times", w.name, n, times[n])
		}
	}
	for n, times := range times {
		if times != 1 {
			t.Errorf("%s: %d is there %d times", w.name, n, times)
		}
	}
	t.Logf("%s: %d acknowledged, %d unknown", w.name, len(w.acknowledged), w.unknown)
}
