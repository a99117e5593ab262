package pgmigrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// A migration that locks tables in another order than the application becomes the victim of a
// deadlock, and is tried again.
func TestDeadlockIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int); create table b (id int)")
	blocker := b.connect(t)
	// Only the migration looks for deadlocks, so that it is the one that is canceled.
	if _, err := blocker.Exec(t.Context(), "set deadlock_timeout = '1 h'; begin; lock table b"); err != nil {
		t.Fatal(err)
	}
	b.config.RuntimeParams["deadlock_timeout"] = "20"

	retries := 0
	m := migrator(t, b, files("1_x.sql", `
alter table a add x int;
-- Wait until the other session waits for a, or is gone.
do $$
begin
  loop
    exit when exists (select from pg_locks where relation = 'a'::regclass and not granted)
      or not exists (select from pg_locks where relation = 'b'::regclass and pid <> pg_backend_pid());
    perform pg_sleep(0.005);
  end loop;
end $$;
alter table b add x int;`), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventRetry {
			retries++
			if !strings.Contains(e.Err.Error(), "40P01") {
				t.Errorf("event %+v", e)
			}
		}
	}))
	type outcome struct {
		result pgmigrate.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() { r, err := m.Up(t.Context()); done <- outcome{r, err} }()

	for !ask[bool](t, b, "select exists (select from pg_locks where relation = 'a'::regclass and mode = "+
		"'AccessExclusiveLock' and granted)") {
		select {
		case o := <-done:
			t.Fatalf("ended early: %+v", o)
		default:
		}
	}
	if _, err := blocker.Exec(t.Context(), "lock table a; commit"); err != nil {
		t.Fatal(err)
	}
	o := <-done
	if o.err != nil || retries != 1 || o.result.To != 1 || o.result.Steps[0].Tries != 2 {
		t.Errorf("%d retries, %+v, %v", retries, o.result, o.err)
	}
}

// lock_timeout also ends the wait for a row. The server says in the error's context which table it
// is in.
func TestRowLockNamesTable(t *testing.T) {
	t.Parallel()
	for _, marker := range []string{"", disableTx} {
		b := setup(t)
		b.exec(t, "create table pages (id int); insert into pages values (1)")
		tx, err := b.connect(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "select * from pages for update"); err != nil {
			t.Fatal(err)
		}
		reason := ""
		folder := files("1_a.sql", marker+"update pages set id = 2;")
		m := migrator(t, b, folder, pgmigrate.WithLockTimeout(20*time.Millisecond),
			pgmigrate.WithProgress(func(e pgmigrate.Event) {
				if e.Kind == pgmigrate.EventRetry {
					reason = e.Err.Error()
					tx.Rollback(t.Context())
				}
			}))
		if _, err := m.Up(t.Context()); err != nil || !strings.Contains(reason, `for a row of "pages"`) {
			t.Errorf("%v, %s", err, reason)
		}
	}
}
