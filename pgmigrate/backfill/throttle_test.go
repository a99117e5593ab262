package backfill_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
	contains(t, on(t, standby.URL()).runner(backfill.Options{}, "count", count).Run(t.Context(), "count"), "read-only")
	b.exec("create table wal as select repeat('x', 1000) from generate_series(1, 3000)")
	b.waits(backfill.Options{MaxLag: 1 << 20}, "MiB behind", func() { standby.ResumeReplay(t) })
}

// After a batch that writes 8 MiB, none begins until the mean is below 2 MiB a second.
func TestWaitsForWAL(t *testing.T) {
	t.Parallel()
	b := on(t, fault.NewServer(t, fault.ServerOptions{}).URL(), counted)
	var waited string
	r := b.runner(backfill.Options{MaxWALRate: 2 << 20, Target: time.Minute, Progress: func(s backfill.Status) {
		if s.Waiting != "" {
			waited = s.Waiting
		}
	}}, "count", "-- pgmigrate:backfill table=public.rows key=id\n"+
		"with w as (select pg_logical_emit_message(false, 'test', repeat('x', case $1 when 1 then 8 << 20 else 0 end))) "+
		"update rows set n = n + 1 from w where id between $1 and $2")
	began := time.Now()
	b.run(r, "count")
	b.wantOnce(2000)
	if took := time.Since(began); took < 3*time.Second || !strings.Contains(waited, "MiB of WAL a second") {
		t.Errorf("8 MiB took %s, waiting %q", took, waited)
	}
	if s := status(t, r); s.Waiting != "" {
		t.Errorf("%+v", s)
	}
}

func TestWaitsForVacuum(t *testing.T) {
	t.Parallel()
	const partitioned = "create table rows (id bigint primary key, n int not null default 0) partition by range (id); " +
		"create table part partition of rows for values from (0) to (5000) with (fillfactor = 10); " +
		"insert into rows select i from generate_series(1, 2000) i"
	for vacuum, create := range map[string]string{
		"vacuum rows": strings.Replace(counted, "default 0)", "default 0) with (fillfactor = 10)", 1),
		"vacuum part": partitioned,
	} {
		b := setup(t, create)
		session := b.connect()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, sql := range []string{"set vacuum_cost_delay = 100", "set vacuum_cost_limit = 1", vacuum} {
				session.Exec(context.WithoutCancel(t.Context()), sql, pgx.QueryExecModeExec) // canceled below
			}
		}()
		b.until("select exists (select from pg_stat_progress_vacuum where datname = current_database())")
		b.waits(backfill.Options{WaitForVacuum: true}, "a vacuum works on the table", func() {
			b.exec(fmt.Sprintf("select pg_cancel_backend(%d)", session.PgConn().PID()))
		})
		<-done
	}
}

// Batches begin inside of the window only. There is a zone for each hour of the day.
func TestWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "truncate rows")
	for _, hour := range []int{0, 12, 23} {
		zone := fmt.Sprintf("Etc/GMT%+d", (time.Now().UTC().Hour()-hour+35)%24-11)
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().In(location).Add(-time.Hour).Format("15:04")
		after := time.Now().In(location).Add(time.Hour).Format("15:04")
		open := b.runner(backfill.Options{Window: before + "-" + after + " " + zone}, "count", count)
		b.run(open, "count")
		if err := open.Restart(t.Context(), "count"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		waiting := ""
		window := after + "-" + before + " " + zone
		closed := b.runner(backfill.Options{Window: window, Progress: func(s backfill.Status) {
			waiting = s.Waiting
			cancel()
		}}, "count", count)
		contains(t, closed.Run(ctx, "count"), "outside of the window "+window, context.Canceled.Error())
		if s := status(t, closed); s.State != backfill.StateStarted || s.Waiting == "" || s.Waiting != waiting {
			t.Errorf("%+v, reported %q", s, waiting)
		}
	}
	waitsAgain(t, b)
	for _, wrong := range []string{"22:00", "22-06", "24:00-06:00", "6:00-7:00", "22:00-22:00", "22:00-06:00 Nowhere/City"} {
		if _, err := backfill.New(b.config, files(), backfill.Options{Window: wrong}); err == nil {
			t.Errorf("window %q is accepted", wrong)
		}
	}
}

// What the batches wait for is said while they wait only, and again after a pause.
func waitsAgain(t *testing.T, b *bench) {
	t.Helper()
	hour := func(n time.Duration) string { return time.Now().UTC().Add(n * time.Hour).Format("15:04") }
	r := b.runner(backfill.Options{Window: hour(8) + "-" + hour(9) + " UTC"}, "again", count)
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context(), "again") }()
	const waits = "select exists (select from pgmigrate.backfill where name = 'again' and waiting is not null)"
	b.until(waits)
	for _, change := range []func(context.Context, string) error{r.Pause, r.Resume, r.Cancel} {
		if err := change(t.Context(), "again"); err != nil {
			t.Fatal(err)
		}
		if s := status(t, r); s.State != backfill.StateStarted && s.Waiting != "" {
			t.Errorf("%+v", s)
		}
		if status(t, r).State == backfill.StateStarted {
			b.until(waits)
		}
	}
	contains(t, <-done, "is canceled")
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
