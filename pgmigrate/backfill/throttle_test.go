package backfill_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// waits runs a backfill that has to wait for a reason, ends that, and wants the backfill to go on.
func (b *bench) waits(opts backfill.Options, reason string, end func()) {
	b.t.Helper()
	var batches atomic.Int64
	opts.Progress = func(s backfill.Status) { batches.Store(s.Batches) }
	r := b.runner(opts, "count", count)
	done := make(chan error, 1)
	go func() { done <- r.Run(b.t.Context(), "count") }()
	b.until("select exists (select from pgmigrate.backfill where waiting is not null)")
	if s := status(b.t, r); !strings.Contains(s.Waiting, reason) || s.State != backfill.StateStarted {
		b.t.Errorf("%+v, want %q", s, reason)
	}
	before := batches.Load()
	b.until("select clock_timestamp() > (select updated_at + interval '1 s' from pgmigrate.backfill)")
	if after := batches.Load(); after != before {
		b.t.Errorf("%d batches while it waits", after-before)
	}
	end()
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
	b.wantOnce(2000)
	if s := status(b.t, r); s.Waiting != "" {
		b.t.Errorf("%+v", s)
	}
}

func TestWaitsForLocks(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "create table other (id int)")
	holder, waiter := b.connect(), b.connect()
	if _, err := holder.Exec(t.Context(), "begin; lock other"); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { _, err := waiter.Exec(t.Context(), "select from other"); waited <- err }()
	b.until("select exists (select from pg_locks where not granted and waitstart < clock_timestamp() - interval '60 ms')")
	b.waits(backfill.Options{MaxLockWait: 50 * time.Millisecond}, "a session waits for a lock", func() {
		if _, err := holder.Exec(t.Context(), "commit"); err != nil {
			t.Error(err)
		}
	})
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestWaitsForTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	old := b.connect()
	if _, err := old.Exec(t.Context(), "begin; select pg_sleep(0.2)"); err != nil {
		t.Fatal(err)
	}
	b.waits(backfill.Options{MaxTransactionAge: 100 * time.Millisecond}, "a transaction is open since", func() {
		if _, err := old.Exec(t.Context(), "commit"); err != nil {
			t.Error(err)
		}
	})
	// Negative limits wait for nothing.
	if _, err := old.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	r := b.runner(backfill.Options{MaxTransactionAge: -1, MaxLag: -1, MaxLockWait: -1}, "again",
		strings.ReplaceAll(count, "n + 1", "1"))
	b.run(r, "again")
}

// A replica that receives and does not replay is behind: its position counts, not what was sent.
func TestWaitsForReplica(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	b := on(t, primary.URL(), counted)
	standby.CatchUp(t)
	standby.PauseReplay(t)
	b.exec("create table wal as select repeat('x', 1000) from generate_series(1, 3000)")
	b.waits(backfill.Options{MaxLag: 1 << 20}, "MiB behind", func() { standby.ResumeReplay(t) })
}

// A role without the right to see others says so once, and does not wait for what it cannot see.
func TestLesserRole(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	super := on(t, server.URL(), "create role app login", "grant create on database postgres to app",
		"grant create on schema public to app")
	old := super.connect()
	if _, err := old.Exec(t.Context(), "begin; select pg_sleep(0.1)"); err != nil {
		t.Fatal(err)
	}
	b := *super
	b.config = super.config.Copy()
	b.config.User = "app"
	b.conn = b.connect()
	b.exec(counted)
	var logs strings.Builder
	r := b.runner(backfill.Options{MaxTransactionAge: time.Millisecond, Logger: logger(&logs)}, "count", count)
	b.run(r, "count")
	b.wantOnce(2000)
	if strings.Count(logs.String(), "grant it pg_read_all_stats") != 1 {
		t.Errorf("logs: %s", logs.String())
	}
}
