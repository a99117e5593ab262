package pgmigrate_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// An invalid index of the same name appears while the migration waits for its lock: IF NOT EXISTS
// then takes it for the index, and the server calls that a success.
func TestBuildIsVerified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	other, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := other.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("lock table a in share update exclusive mode")
	m := migrator(t, b, files("1_a.sql", noTx+"create index concurrently if not exists a_id on a (id);"))
	done := make(chan error, 1)
	go func() { _, err := m.Up(t.Context()); done <- err }()
	b.until(t, "select exists (select from pg_stat_activity where datname = current_database() and application_name = "+
		"'pgmigrate' and wait_event_type = 'Lock')")
	exec("create index a_id on a (id)")
	exec("update pg_index set indisvalid = false where indexrelid = 'a_id'::regclass")
	if err := other.Commit(t.Context()); err != nil {
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

// until polls until a query answers true.
func (b *bench) until(t *testing.T, sql string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ask[bool](t, b, sql, args...); {
		if time.Now().After(deadline) {
			t.Fatalf("never true: %s", sql)
		}
	}
}

// An index that another role builds right now is no leftover, even where this role may not see its
// progress.
func TestBuildOfAnotherRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	as := b.lesser(t, "grant create on schema public to ROLE; alter table a owner to ROLE; grant create on database "+
		pgx.Identifier{b.config.Database}.Sanitize()+" to ROLE")
	writer, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec(t.Context(), "lock table a in row exclusive mode"); err != nil {
		t.Fatal(err)
	}
	builder := b.connect(t)
	built := make(chan error, 1)
	go func() {
		_, err := builder.Exec(t.Context(), "create index concurrently a_id on a (id)")
		built <- err
	}()
	b.until(t, "select exists (select from pg_stat_progress_create_index where pid = $1 and phase like 'waiting%')",
		builder.PgConn().PID())
	if ask[bool](t, as, "select exists (select from pg_stat_progress_create_index where index_relid is not null)") {
		t.Error("this role sees the progress")
	}
	waiting := make(chan struct{})
	log := func(line []byte) (int, error) {
		if strings.Contains(string(line), "another session builds an index") {
			close(waiting)
		}
		return len(line), nil
	}
	m := migrator(t, as, files("1_a.sql", noTx+"create index concurrently if not exists a_id on a (id);"),
		pgmigrate.WithLogger(slog.New(slog.NewTextHandler(writerFunc(log), nil))))
	done := make(chan error, 1)
	go func() { _, err := m.Up(t.Context()); done <- err }()
	<-waiting
	if err := writer.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-built; err != nil {
		t.Errorf("the other role's build: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A build that loses a deadlock against the application is tried again.
func TestBuildLosesDeadlock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	app, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.Exec(t.Context(), "set local deadlock_timeout = '1h'; insert into a values (1)"); err != nil {
		t.Fatal(err)
	}
	b.config.RuntimeParams["deadlock_timeout"] = "4s" // the build looks for a deadlock only once
	m := migrator(t, b, files("1_a.sql", noTx+"create index concurrently a_id on a (id);"))
	type outcome struct {
		result pgmigrate.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := m.Up(t.Context())
		done <- outcome{r, err}
	}()
	b.until(t, "select exists (select from pg_stat_progress_create_index p join pg_database d on d.oid = p.datid "+
		"where d.datname = current_database() and phase like 'waiting%')")
	if _, err := app.Exec(t.Context(), "lock table a in share update exclusive mode"); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := <-done
	if o.err != nil || len(o.result.Steps) != 1 || o.result.Steps[0].Tries < 2 {
		t.Errorf("%+v, %v", o.result, o.err)
	}
	if !ask[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_id'::regclass") {
		t.Error("the index is not valid")
	}
}
