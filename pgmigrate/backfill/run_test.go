package backfill_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "truncate rows")
	r := b.runner(backfill.Options{}, "count", count+"-- pgmigrate:finish\ninsert into rows values (-1)")
	for range 2 {
		b.run(r, "count")
	}
	if s := status(t, r); s.State != backfill.StateDone || s.Rows != 0 || s.EndedAt.IsZero() || s.Workers > 0 {
		t.Errorf("%+v", s)
	}
	if n := ask[int](b, "select count(*) from rows"); n != 1 {
		t.Errorf("finish ran %d times", n)
	}
	if err := r.Run(t.Context(), "nope"); !errors.Is(err, backfill.ErrUnknown) {
		t.Errorf("an unknown name: %v", err)
	}
}

// shared is a table of several ranges, whose batches say which session ran them.
const (
	sharedTable = counted + "; truncate rows; insert into rows select i from generate_series(1, 20000) i; analyze rows; " +
		"create table sessions (pid int)"
	sharedFile = "-- pgmigrate:backfill table=public.rows key=id\n" +
		"with s as (insert into sessions values (pg_backend_pid())) " +
		"update rows set n = n + 1 where id between $1 and $2;\n" +
		"-- pgmigrate:verify\nselect count(*) from rows where n <> 1;\n" +
		"-- pgmigrate:finish\ninsert into sessions values (-1);"
)

// Several workers of one call, and several calls, share the ranges of one backfill. One ends it.
func TestSeveralWorkers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ calls, workers int }{"one call": {1, 4}, "several calls": {3, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sharedTable)
			var logs strings.Builder
			var together sync.WaitGroup
			var first sync.Once
			share := func(backfill.Status) {
				first.Do(func() { b.until("select count(distinct pid) > 1 from sessions") })
			}
			r := b.runner(backfill.Options{
				Workers: c.workers, Target: time.Second, Logger: logger(&logs), Progress: share,
			}, "count", sharedFile)
			for range c.calls {
				together.Go(func() {
					if err := r.Run(t.Context(), "count"); err != nil {
						t.Error(err)
					}
				})
			}
			together.Wait()
			b.wantOnce(20000)
			s := status(t, r)
			if s.State != backfill.StateDone || s.Rows != 20000 || s.Total != 20000 || s.Workers != 0 || s.Error != "" {
				t.Errorf("%+v\n%s", s, &logs)
			}
			if n := ask[int](b, "select count(*) from sessions where pid = -1"); n != 1 {
				t.Errorf("finish ran %d times", n)
			}
			if n := ask[int](b, "select count(*) from pgmigrate.backfill_range where done"); n != 4 {
				t.Errorf("%d ranges", n)
			}
		})
	}
}

// Pause and cancel are heard by all workers, and return when no batch runs.
func TestSeveralWorkersPause(t *testing.T) {
	t.Parallel()
	b := setup(t, sharedTable)
	r := b.runner(backfill.Options{Workers: 3}, "count", "-- pgmigrate:backfill table=public.rows key=id\n"+
		"with s as (select pg_sleep(0.3)) update rows set n = n + 1 from s where id between $1 and $2")
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context(), "count") }()
	const sleeping = "select count(*) = 3 " +
		"from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
	b.until(sleeping)
	if s := status(t, r); s.Workers != 3 {
		t.Errorf("%+v", s)
	}
	contains(t, r.Restart(t.Context(), "count"), "a worker runs")
	if err := r.Pause(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	before := ask[int](b, "select sum(n) from rows")
	if ask[bool](b, strings.Replace(sleeping, "= 3", "> 0", 1)) || before == 0 {
		t.Errorf("batches run while it is paused, %d rows", before)
	}
	if err := r.Resume(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	b.until(sleeping)
	if err := r.Cancel(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	before = ask[int](b, "select sum(n) from rows")
	var state *backfill.StateError
	if err := <-done; !errors.As(err, &state) || state.State != backfill.StateCanceled {
		t.Errorf("run: %v", err)
	}
	if after := ask[int](b, "select sum(n) from rows"); after != before {
		t.Errorf("%d rows after cancel, %d before", after, before)
	}
}

// A faulty row in one range ends all workers. The rows before it in its range are done, and after
// resume each row has been met once.
func TestSeveralWorkersFaultyRow(t *testing.T) {
	t.Parallel()
	b := setup(t, sharedTable, "alter table rows add check (id <> 10000 or n = 0)")
	r := b.runner(backfill.Options{Workers: 4, Target: time.Minute}, "count", sharedFile)
	err := r.Run(t.Context(), "count")
	var failed *backfill.BatchError
	if !errors.As(err, &failed) || failed.Rows != 1 {
		t.Fatalf("%v", err)
	}
	if s := status(t, r); s.State != backfill.StateFailed || !strings.Contains(s.Error, "23514") || s.Attempts == 0 {
		t.Errorf("%+v", s)
	}
	if n := ask[int](b, "select count(*) from rows r, pgmigrate.backfill_range g where r.n = 0 and "+
		"g.error is not null and r.id > coalesce((select max(upper_key[1]::int) from pgmigrate.backfill_range "+
		"where number < g.number), 0) and r.id < 10000"); n != 0 {
		t.Errorf("%d rows before the faulty one are not done", n)
	}
	b.exec("alter table rows drop constraint rows_check")
	if err := r.Resume(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	b.run(r, "count")
	b.wantOnce(20000)
	if s := status(t, r); s.Error != "" || s.Attempts != 0 {
		t.Errorf("%+v", s)
	}
}

const workerLocks = "from pg_locks where locktype = 'advisory' and " +
	"database = (select oid from pg_database where datname = current_database())"

// A worker whose session lost its lock, as after a failover, cannot repeat a batch.
func TestLockLost(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	var second sync.WaitGroup
	defer second.Wait()
	first := true
	r := b.runner(backfill.Options{Progress: func(backfill.Status) {
		if !first {
			return
		}
		first = false
		b.exec("select pg_terminate_backend(pid) " + workerLocks)
		b.until("select not exists (select " + workerLocks + ")")
		other := b.runner(backfill.Options{}, "count", count)
		second.Go(func() {
			if err := other.Run(t.Context(), "count"); err != nil {
				t.Error(err)
			}
		})
		b.until("select exists (select " + workerLocks + ") or " +
			"(select state = 'done' from pgmigrate.backfill)")
	}}, "count", count)
	b.run(r, "count")
	b.wantOnce(2000)
}

func TestPauseResumeCancelRestart(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	r := b.runner(backfill.Options{}, "count", count)
	ctx := t.Context()
	// Before it began.
	contains(t, r.Resume(ctx, "count"), "is pending: run it")
	if err := r.Pause(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := r.Run(short, "count"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("run while it is paused: %v", err)
	}
	if n := ask[int](b, "select sum(n) from rows"); n != 0 {
		t.Fatalf("paused, and %d rows were met", n)
	}

	// A worker waits, goes on, and is canceled in the middle.
	stop := make(chan struct{})
	worker := b.runner(backfill.Options{Target: time.Minute, Progress: func(s backfill.Status) {
		if s.Batches == 2 {
			<-stop
		}
	}}, "count", count)
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx, "count") }()
	b.until("select exists (select " + workerLocks + ")")
	if s := status(t, r); s.State != backfill.StatePaused || s.Workers == 0 {
		t.Errorf("%+v", s)
	}
	if err := r.Resume(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	b.until("select batches = 2 from pgmigrate.backfill_range")
	contains(t, r.Restart(ctx, "count"), "a worker runs")
	if err := r.Cancel(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	close(stop)
	var state *backfill.StateError
	if err := <-done; !errors.As(err, &state) || state.State != backfill.StateCanceled {
		t.Fatalf("the worker of a canceled backfill: %v", err)
	}
	if n := ask[int](b, "select sum(n) from rows"); n != 300 {
		t.Errorf("%d rows in two batches", n)
	}
	for _, err := range []error{r.Run(ctx, "count"), r.Resume(ctx, "count"), r.Pause(ctx, "count")} {
		if !errors.As(err, &state) || state.State != backfill.StateCanceled {
			t.Errorf("after cancel: %v", err)
		}
	}

	if err := r.Restart(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	b.exec("update rows set n = 0")
	b.run(r, "count")
	b.wantOnce(2000)
	contains(t, r.Cancel(ctx, "count"), "is done")
	contains(t, r.Pause(ctx, "count"), "is done")
}

// Pause returns when no batch runs.
func TestPauseWaitsForBatch(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	r := b.runner(backfill.Options{}, "count",
		"-- pgmigrate:backfill table=public.rows key=id\n"+
			"with s as (select pg_sleep(0.5)) update rows set n = n + 1 from s where id between $1 and $2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, "count") }()
	b.until("select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())")
	if err := r.Pause(ctx, "count"); err != nil {
		t.Fatal(err)
	}
	if n := ask[int](b, "select sum(n) from rows"); n != 100 {
		t.Errorf("%d rows when Pause returned", n)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
}

// A row that cannot be changed ends the backfill with all rows before it done, and its value is in
// no error and in no table.
func TestFaultyRow(t *testing.T) {
	t.Parallel()
	b := setup(t, "create table rows (id int primary key, old text, n int default 0, new int)",
		"insert into rows (id, old) select i, i from generate_series(1, 2000) i",
		"update rows set old = 's3cret \"s3cret\"' where id = 1234")
	var logs strings.Builder
	r := b.runner(backfill.Options{Logger: logger(&logs)}, "convert",
		"-- pgmigrate:backfill table=public.rows key=id\n"+
			"update rows set\n new = old::int, n = n + 1 where id between $1 and $2")
	err := r.Run(t.Context(), "convert")
	var failed *backfill.BatchError
	if !errors.As(err, &failed) || failed.Rows != 1 {
		t.Fatalf("%v", err)
	}
	contains(t, err, "invalid input syntax for type integer", "22P02")
	b.wantFaulty(err, r, logs.String())
	if n := ask[int](b, "select count(*) from rows where n = 1 and id < 1234"); n != 1233 {
		t.Errorf("%d rows before the faulty one are done", n)
	}
	var state *backfill.StateError
	if err := r.Run(t.Context(), "convert"); !errors.As(err, &state) || state.State != backfill.StateFailed {
		t.Errorf("run again: %v", err)
	}

	// Corrected, it goes on.
	b.exec("update rows set old = '7' where id = 1234")
	if err := r.Resume(t.Context(), "convert"); err != nil {
		t.Fatal(err)
	}
	b.run(r, "convert")
	b.wantOnce(2000)
}

// A constraint that is checked at COMMIT fails the batch there.
func TestFaultyCommit(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "create table parent (n int primary key); insert into parent values (0), (1)",
		"update rows set n = 4 where id = 300",
		"insert into parent values (4); alter table rows add foreign key (n) references parent deferrable initially deferred")
	r := b.runner(backfill.Options{}, "count", count)
	err := r.Run(t.Context(), "count")
	var failed *backfill.BatchError
	if !errors.As(err, &failed) || failed.Rows != 1 {
		t.Fatalf("%v", err)
	}
	contains(t, err, "23503", "constraint rows_n_fkey")
	if n := ask[int](b, "select count(*) from rows where n = 1"); n != 299 {
		t.Errorf("%d rows before the faulty one are done", n)
	}
	if s := status(t, r); s.Rows != 299 {
		t.Errorf("%+v", s)
	}
}

func (b *bench) wantFaulty(err error, r *backfill.Runner, logs string) {
	b.t.Helper()
	s := status(b.t, r)
	if s.State != backfill.StateFailed || s.Error == "" {
		b.t.Errorf("%+v", s)
	}
	for where, text := range map[string]string{
		"error": err.Error(), "status": s.Error, "log": logs,
		"table": ask[string](b, "select b::text || r::text from pgmigrate.backfill b, pgmigrate.backfill_range r"),
	} {
		if strings.Contains(text, "s3cret") {
			b.t.Errorf("the %s has the value: %s", where, text)
		}
	}
}

// A statement that no retry helps fails at once, with nothing done.
func TestWrongStatement(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	r := b.runner(backfill.Options{}, "count", strings.ReplaceAll(count, "n = n", "nope = n"))
	contains(t, r.Run(t.Context(), "count"), `column "nope"`, "42703")
	// Nothing is done yet, so the corrected file may simply go on.
	r = b.runner(backfill.Options{}, "count", count)
	if err := r.Resume(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	b.run(r, "count")
	b.wantOnce(2000)
}

func TestEditedFile(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := b.runner(backfill.Options{Progress: func(backfill.Status) { cancel() }}, "count", count)
	if err := r.Run(ctx, "count"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	edited := b.runner(backfill.Options{}, "count", strings.ReplaceAll(count, "n + 1", "n + 1 + 0"))
	var state *backfill.StateError
	if err := edited.Run(t.Context(), "count"); !errors.As(err, &state) || !state.Edited {
		t.Fatalf("%v", err)
	}
	if s := status(t, edited); !s.Edited || s.State != backfill.StateStarted || s.Workers > 0 {
		t.Errorf("%+v", s)
	}
	if err := edited.Resume(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	b.run(edited, "count")
	b.wantOnce(2000)
}

// Batches of the old file are committed while a worker with another begins: that does not go on.
func TestEditedWhileOtherBegins(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	r := b.runner(backfill.Options{}, "count", count)
	if err := r.Pause(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	other := *b
	other.conn = b.connect()
	other.exec("begin; select from pgmigrate.backfill for update")
	done := make(chan error, 1)
	edited := b.runner(backfill.Options{}, "count", strings.ReplaceAll(count, "n + 1", "n + 2"))
	go func() { done <- edited.Run(t.Context(), "count") }()
	b.until("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
	other.exec("insert into pgmigrate.backfill_range select version_table, name, 1, '{100}', null, false, 100, 1, 100 from "+
		"pgmigrate.backfill; update pgmigrate.backfill set state = 'started'", "update rows set n = 1 where id <= 100; commit")
	var state *backfill.StateError
	if err := <-done; !errors.As(err, &state) || !state.Edited {
		t.Fatalf("%v", err)
	}
	b.run(r, "count")
	b.wantOnce(2000)
}

// A worker with an edited file begins while the first batch of the old one runs.
func TestEditedInFirstBatch(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	statement := strings.Replace(strings.Replace(count, "update", "with s as (select pg_advisory_xact_lock_shared(7)) update",
		1), "where", "from s where", 1)
	opts := backfill.Options{LockTimeout: time.Minute, StatementTimeout: time.Minute}
	done, edited := make(chan error, 1), make(chan error, 1)
	holder := *b
	holder.conn = b.connect()
	holder.exec("select pg_advisory_lock(7)")
	waiting := func(n string) {
		b.until("select count(*) = " + n + " from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
	}
	go func() { done <- b.runner(opts, "count", statement).Run(t.Context(), "count") }()
	waiting("1")
	go func() { edited <- b.runner(opts, "count", count).Run(t.Context(), "count") }()
	waiting("2")
	holder.exec("select pg_advisory_unlock(7)")
	var state *backfill.StateError
	if err := <-edited; !errors.As(err, &state) || !state.Edited {
		t.Errorf("edited: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.wantOnce(2000)
}

// The bounds of a key say nothing about another.
func TestEditedKey(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "create table others (id bigint primary key, n int)")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := b.runner(backfill.Options{Progress: func(backfill.Status) { cancel() }}, "count", count)
	if err := r.Run(ctx, "count"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	edited := b.runner(backfill.Options{}, "count", strings.ReplaceAll(count, "public.rows", "public.others"))
	contains(t, edited.Resume(t.Context(), "count"), "began with public.rows, key id", "restart it")
	b.run(r, "count")
	b.wantOnce(2000)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	r := b.runner(backfill.Options{}, "count", count+`
-- pgmigrate:verify
select count(*) from rows where n <> 1;`)
	if wrong, err := r.Verify(t.Context(), "count"); wrong != 2000 || err != nil {
		t.Errorf("before: %d, %v", wrong, err)
	}
	b.exec("update rows set n = 1 where id = 5")
	err := r.Run(t.Context(), "count")
	contains(t, err, "failed at its end", "found 1 wrong rows")
	b.exec("update rows set n = 1 where id = 5")
	if err := r.Resume(t.Context(), "count"); err != nil {
		t.Fatal(err)
	}
	b.run(r, "count")
	r = b.runner(backfill.Options{}, "count", count+"-- pgmigrate:verify\nselect 'many' from rows")
	_, err = r.Verify(t.Context(), "count")
	contains(t, err, "has to return one number")
	_, err = b.runner(backfill.Options{}, "count", count).Verify(t.Context(), "count")
	contains(t, err, "no section")
}

// A row that another transaction has locked makes batches smaller and delays them; it does not end
// the backfill.
func TestLockedRow(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	blocker := b.connect()
	if _, err := blocker.Exec(t.Context(), "begin; select from rows where id = 50 for update"); err != nil {
		t.Fatal(err)
	}
	r := b.runner(backfill.Options{LockTimeout: 20 * time.Millisecond}, "count", count)
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context(), "count") }()
	b.until("select exists (select from pgmigrate.backfill_range where attempts > 2 and batch_size < 100)")
	if s := status(t, r); !strings.Contains(s.Error, "55P03") || s.State != backfill.StateStarted {
		t.Errorf("%+v", s)
	}
	if _, err := blocker.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.wantOnce(2000)
}

// A batch that is too slow becomes smaller; a single row that is too slow ends the backfill.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "delete from rows where id > 400", `
		create function slow() returns trigger language plpgsql as $$ begin
		perform pg_sleep(case when new.id = 300 then 2 else 0.002 end); return new; end $$;
		create trigger slow before update on rows for each row execute function slow()`)
	r := b.runner(backfill.Options{StatementTimeout: 100 * time.Millisecond, Target: time.Second}, "count", count)
	err := r.Run(t.Context(), "count")
	var failed *backfill.BatchError
	if !errors.As(err, &failed) || failed.Rows != 1 {
		t.Fatalf("%v", err)
	}
	contains(t, err, "statement timeout", "57014")
	if n := ask[int](b, "select count(*) from rows where n = 1"); n != 299 {
		t.Errorf("%d rows before the slow one are done", n)
	}
}

// The batch's size follows the target, whatever a row costs.
func TestTarget(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "delete from rows where id > 500", `
		create function slow() returns trigger language plpgsql as $$ begin
		perform pg_sleep(0.001); return new; end $$;
		create trigger slow before update on rows for each row execute function slow()`)
	var sizes []int
	r := b.runner(backfill.Options{Target: 50 * time.Millisecond, Progress: func(s backfill.Status) {
		sizes = append(sizes, s.BatchSize)
	}}, "count", count)
	b.run(r, "count")
	for _, size := range sizes[4:] {
		if size > 50 {
			t.Errorf("50 ms, a millisecond a row, and batches of %v", sizes)
			break
		}
	}
	b.wantOnce(500)
}

// A distant server makes batches slow however small they are: that says nothing about their rows.
func TestDistantServer(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	proxy := fault.NewProxy(t, b.config.ConnString(), fault.Options{})
	through := on(t, proxy.URL())
	proxy.Delay(fault.FromServer, 40*time.Millisecond)
	r := through.runner(backfill.Options{Target: 50 * time.Millisecond}, "count", count)
	b.run(r, "count")
	b.wantOnce(2000)
	if n := ask[int](b, "select batches from pgmigrate.backfill_range"); n > 100 { // 190 of ten rows, or 5
		t.Errorf("%d batches", n)
	}
}

// The connection is lost in the middle: the worker goes on by itself.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	kill := "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgmigrate' and " +
		"datname = current_database()"
	for _, parity := range []int64{0, 1} { // of the last batch too
		b := setup(t, counted)
		r := b.runner(backfill.Options{Progress: func(s backfill.Status) {
			if s.Batches%2 == parity {
				b.exec(kill)
			}
		}}, "count", count)
		b.run(r, "count")
		b.wantOnce(2000)
	}
}

// COMMIT that gets no answer is found out, not repeated.
func TestCommitUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t, counted)
	for _, cut := range []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer, fault.InAnswer} {
		proxy := fault.NewProxy(t, b.config.ConnString(), fault.Options{})
		through := on(t, proxy.URL())
		proxy.CutCommits(3, cut)
		r := through.runner(backfill.Options{}, "count", count)
		b.exec("update rows set n = 0")
		b.run(r, "count")
		b.wantOnce(2000)
		if err := r.Restart(t.Context(), "count"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for _, ignored := range []string{"", "lock_timeout, statement_timeout, idle_in_transaction_session_timeout, " +
		"idle_session_timeout, default_transaction_read_only, default_transaction_isolation, tcp_keepalives_idle, " +
		"tcp_keepalives_interval, tcp_keepalives_count, client_connection_check_interval"} {
		b := setup(t, counted)
		bouncer := fault.NewPgBouncer(t, b.config.ConnString(), map[string]string{"ignore_startup_parameters": ignored})
		direct := b.conn
		b.config = on(t, bouncer.URL()).config
		b.conn = direct
		if err := b.runner(backfill.Options{}, "count", count).Run(t.Context(), "count"); !errors.Is(err,
			pgmigrate.ErrPooled) {
			t.Errorf("ignoring %q: %v", ignored, err)
		}
		if ask[bool](b, "select exists (select from pg_namespace where nspname = 'pgmigrate')") {
			t.Error("a refused run has changed the database")
		}
	}
}

// A worker that comes back after somebody else has restarted the backfill begins at the first row.
func TestRestartedAtTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, counted, "create table slow (seconds int); insert into slow values (60)")
	r := b.runner(backfill.Options{}, "count", count+
		";\n-- pgmigrate:verify\nselect 0 from slow where pg_sleep(seconds) is not null")
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context(), "count") }()
	b.until("select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')")
	b.exec("update slow set seconds = 0", "update rows set n = 0", "delete from pgmigrate.backfill",
		"select pg_terminate_backend(pid) "+workerLocks)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.wantOnce(2000)
}
