package pgmigrate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// A concurrent build that fails leaves an invalid index, which the next try drops and builds again,
// whatever the name's quotes.
func TestInvalidIndexIsRebuilt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ statement, index string }{
		"plain":         {"create unique index concurrently a_id on a (id);", "a_id"},
		"if not exists": {"create unique index concurrently if not exists a_id on public.a (id);", "a_id"},
		"quoted":        {"/* x */ create unique index concurrently \"A id\" on only \"public\".a (id);", `"A id"`},
		"other schema":  {"create unique index concurrently s_id on s.a (id);", "s.s_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, "create schema s; create table s.a (id int); insert into s.a values (1), (1); create table a "+
				"(id int); insert into a values (1), (1)")
			m := migrator(t, b, files("1_a.sql", noTx+test.statement))
			_, err := m.Up(t.Context())
			var failed *pgmigrate.MigrationError
			if !errors.As(err, &failed) || !failed.Repeatable || len(failed.InvalidIndexes) != 1 ||
				!strings.Contains(err.Error(),
					"failed at statement 1, the database is at version 0: when the cause is gone, run it again") {
				t.Fatalf("got %v", err)
			}
			b.exec(t, "delete from s.a where ctid = '(0,1)'; delete from a where ctid = '(0,1)'")
			if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if !ask[bool](t, b, "select indisvalid from pg_index where indexrelid = to_regclass($1)", test.index) {
				t.Error("the index is not valid")
			}
			if n := ask[int](t, b, "select count(*) from pg_index where not indisvalid"); n != 0 {
				t.Errorf("%d invalid indexes", n)
			}
		})
	}
}

// IF NOT EXISTS accepts an invalid index. pgmigrate replaces it, even if it did not leave it
// behind.
func TestIfNotExistsBuildsInvalidIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int); insert into a values (1), (1)")
	if _, err := b.conn.Exec(t.Context(), "create unique index concurrently a_id on a (id)"); err == nil {
		t.Fatal("the build should have failed")
	}
	m := migrator(t, b, files("1_a.sql", noTx+"create index concurrently if not exists a_id on a (id);"))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !ask[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_id'::regclass") {
		t.Error("the index is not valid")
	}
}

// The session is ended between the last statement and the version: the index is there and valid, so
// that building it again would fail. The next run must not guess.
func TestKilledAfterBuild(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	folder := files("1_a.sql", noTx+"create index concurrently a_id on a (id);")
	m := migrator(t, b, folder)
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.exec(t, `update schema_version set version = 0; update pgmigrate.history
set progress = 'running', index_name = 'public.a_id', drops_index = false, repeatable = true,
  before = encode(sha256(''), 'hex')`)
	_, err := m.Up(t.Context())
	var dirty *pgmigrate.DirtyError
	if !errors.As(err, &dirty) {
		t.Fatalf("got %v", err)
	}
	if err := m.Resolve(t.Context(), 1, pgmigrate.ResolveApplied); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 || len(r.Steps) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A build on a table that is not there leaves nothing.
func TestBuildWithoutTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", noTx+"create index concurrently a_id on a (id);"))
	_, err := m.Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || !failed.Repeatable || len(failed.InvalidIndexes) != 0 ||
		!strings.Contains(err.Error(), `relation "a" does not exist`) {
		t.Fatalf("got %v", err)
	}
	b.exec(t, "create table a (id int)")
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("the next run: %+v, %v", r, err)
	}
}

// The server chooses the name of the index: only a person can tell whether the build may run again,
// and the error names what it left.
func TestFailedBuildWithoutName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int); insert into a values (1), (1)")
	m := migrator(t, b, files("1_a.sql", noTx+"create unique index concurrently on a (id);"))
	for try, want := range []string{"finish it or undo it by hand, then resolve version 1", "begun by"} {
		if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasSuffix(err.Error(), "; invalid indexes: a_id_idx") {
			t.Errorf("try %d: got %v, want %q and the index", try, err, want)
		}
	}
}

// Another session's build of the same index fails while the migration waits for its lock: IF NOT
// EXISTS then takes the invalid index for the index, and the server calls that a success.
func TestBuildIsVerified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	writer, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec(t.Context(), "lock table a in row exclusive mode"); err != nil {
		t.Fatal(err)
	}
	builder := b.connect(t)
	pid := builder.PgConn().PID()
	built := make(chan error, 1)
	go func() {
		_, err := builder.Exec(t.Context(), "create index concurrently a_id on a (id)")
		built <- err
	}()
	until := func(sql string, args ...any) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ask[bool](t, b, sql, args...); {
			if time.Now().After(deadline) {
				t.Fatalf("never true: %s", sql)
			}
		}
	}
	until("select exists (select from pg_stat_progress_create_index where pid = $1 and phase like 'waiting%')", pid)
	m := migrator(t, b, files("1_a.sql", noTx+"create index concurrently if not exists a_id on a (id);"))
	done := make(chan error, 1)
	go func() { _, err := m.Up(t.Context()); done <- err }()
	until("select exists (select from pg_stat_activity where datname = current_database() and application_name = " +
		"'pgmigrate' and wait_event_type = 'Lock')")
	if _, err := b.conn.Exec(t.Context(), "select pg_terminate_backend($1)", pid); err != nil {
		t.Fatal(err)
	}
	<-built
	if err := writer.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = <-done
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || !failed.Repeatable || !strings.Contains(err.Error(), "not valid after its build") {
		t.Fatalf("got %v", err)
	}
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("the next run: %+v, %v", r, err)
	}
	if !ask[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_id'::regclass") {
		t.Error("the index is not valid")
	}
}
