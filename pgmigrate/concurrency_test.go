package pgmigrate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// ternLock is tern's documented key; a change of ours must not go unnoticed.
const ternLock = int64(9628173550095224)

func TestFiftyInstancesAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fsys := files(
		"1_pages.sql", "create table pages (id int primary key, title text);\ncreate table runs (id serial);\n",
		"2_fill.sql", "insert into pages select i, i::text from generate_series(1, 20000) i;\n",
		"3_index.sql", "---- tern: disable-tx ----\ncreate index concurrently pages_title on pages (title);\ninsert "+
			"into runs default values;\n",
		"4_more.sql", "---- tern: disable-tx ----\ncreate index concurrently pages_upper on pages (upper(title));\n",
	)
	const instances = 50
	results := make([]pgmigrate.Result, instances)
	errs := make([]error, instances)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range instances {
		m := migrator(t, b, fsys)
		wg.Go(func() {
			<-start
			results[i], errs[i] = m.Up(t.Context())
		})
	}
	close(start)
	wg.Wait()

	steps := 0
	for i := range instances {
		if errs[i] != nil {
			t.Errorf("instance %d: %v", i, errs[i])
		}
		if results[i].To != 4 {
			t.Errorf("instance %d ended at version %d", i, results[i].To)
		}
		steps += len(results[i].Steps)
	}
	if steps != 4 {
		t.Errorf("%d steps by all instances together, want 4", steps)
	}
	if n := ask[int](t, b, "select count(*) from runs"); n != 1 {
		t.Errorf("the disable-tx migration ran %d times", n)
	}
	if n := ask[int](t, b, "select count(*) from pgmigrate.history where action = 'up' and progress = 'done'"); n != 4 {
		t.Errorf("%d entries in the history, want 4", n)
	}
	if n := ask[int](t, b, "select count(*) from pg_index where not indisvalid"); n != 0 {
		t.Errorf("%d invalid indexes", n)
	}
	if n := ask[int](t, b, "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid "+
		"from pg_database where datname = current_database())"); n != 0 {
		t.Errorf("%d advisory locks left", n)
	}
}

// With the migration lock taken, a run that has nothing to do returns and one that has waits until
// its context ends.
func TestMigrationLockHeld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).To(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	b.exec(t, "set application_name = 'somebody else'")
	if _, err := b.conn.Exec(t.Context(), "select pg_advisory_lock($1)", ternLock); err != nil {
		t.Fatal(err)
	}

	if r, err := migrator(t, b, firstTwo()).Up(t.Context()); err != nil || len(r.Steps) != 0 {
		t.Errorf("a run with nothing to do: %+v, %v", r, err)
	}
	if s, err := migrator(t, b, three()).Status(t.Context()); err != nil || s.Version != 2 {
		t.Errorf("status: %+v, %v", s, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	m := migrator(t, b, three(), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventWaiting {
			cancel()
		}
	}))
	_, err := m.Up(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	if !strings.Contains(err.Error(), `application "somebody else"`) {
		t.Errorf("%v does not say who holds the lock", err)
	}

	// The lock becomes free while a run waits for it.
	free := make(chan struct{})
	m = migrator(t, b, three(), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventWaiting {
			close(free)
		}
	}))
	done := make(chan error, 1)
	go func() { _, err := m.Up(t.Context()); done <- err }()
	<-free
	b.exec(t, "select pg_advisory_unlock_all()")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A migration must not queue for a table lock behind a long transaction: everybody else's queries
// would queue behind it.
func TestTableLockIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	blocker := b.connect(t)
	tx, err := blocker.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select * from pages"); err != nil {
		t.Fatal(err)
	}

	retries := 0
	m := migrator(t, b, three(), pgmigrate.WithLockTimeout(50*time.Millisecond),
		pgmigrate.WithProgress(func(e pgmigrate.Event) {
			if e.Kind != pgmigrate.EventRetry {
				return
			}
			if e.Name != "002_title.sql" || e.Duration <= 0 || e.Err == nil ||
				!strings.Contains(e.Err.Error(), "55P03") {
				t.Errorf("event %+v", e)
			}
			// The table must be usable while the migration pauses.
			if n := ask[int](t, b, "select count(*) from pages"); n != 0 {
				t.Errorf("%d pages", n)
			}
			if retries++; retries == 2 {
				if err := tx.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}))
	r, err := m.Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if retries != 2 || len(r.Steps) != 2 || r.Steps[0].Tries != 3 || r.Steps[1].Tries != 1 {
		t.Errorf("%d retries, %+v", retries, r)
	}
}

func TestTableLockUntilContextEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	tx, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select * from pages"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := migrator(t, b, three(), pgmigrate.WithLockTimeout(50*time.Millisecond),
		pgmigrate.WithProgress(func(e pgmigrate.Event) {
			if e.Kind == pgmigrate.EventRetry {
				cancel()
			}
		}))
	_, err = m.Up(ctx)
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || failed.State != pgmigrate.StateRolledBack || failed.Database != 1 ||
		!errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"002_title.sql", "55P03", "until the context ended", "version 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// A concurrent index build waits for older transactions, longer than lock_timeout, and must not
// give up: it would leave an invalid index.
func TestNoLockTimeoutWithoutTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).To(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	tx, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table pages in row exclusive mode"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	m := migrator(t, b, three(), pgmigrate.WithLockTimeout(20*time.Millisecond))
	go func() { _, err := m.Up(t.Context()); done <- err }()

	// The build has to have waited for several times the lock timeout.
	const waited = `select exists (select from pg_stat_activity where datname = current_database()
		and pid <> pg_backend_pid()
  and query like '%create index concurrently pages_title%' and wait_event_type = 'Lock'
  and clock_timestamp() - query_start > interval '200 ms')`
	for deadline := time.Now().Add(20 * time.Second); !ask[bool](t, b, waited); {
		select {
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the index build never waited")
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
