package pgmigrate_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

const noTx = "---- tern: disable-tx ----\n"

// failing is a folder whose second migration fails at its second statement: only a person can tell what is to be done.
func failing() fs.FS {
	return files("1_a.sql", "create table a (id int primary key);\n",
		"2_b.sql", noTx+"insert into a values (1);\n\ninsert into a values (1);\ninsert into a values (2);\n",
		"3_c.sql", "create table c (id int);\n")
}

func TestDirty(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		by         string
		resolution pgmigrate.Resolution
		rows       int // in a, after the next Up
	}{
		"finished by hand": {"insert into a values (2)", pgmigrate.ResolveApplied, 2},
		"undone by hand":   {"delete from a; alter table a drop constraint a_pkey", pgmigrate.ResolveRolledBack, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := migrator(t, b, failing())
			_, err := m.Up(t.Context())
			var failed *pgmigrate.MigrationError
			if !errors.As(err, &failed) || failed.Repeatable || failed.Statement != 2 || failed.Line != 4 {
				t.Fatalf("got %v", err)
			}
			for call, fn := range map[string]func() error{
				"up":       func() error { _, err := m.Up(t.Context()); return err },
				"down":     func() error { _, err := m.Down(t.Context()); return err },
				"to 1":     func() error { _, err := m.To(t.Context(), 1); return err },
				"redo":     func() error { _, err := m.Redo(t.Context()); return err },
				"plan":     func() error { _, err := m.Plan(t.Context()); return err },
				"baseline": func() error { return m.Baseline(t.Context(), 1) },
				"resolve another version": func() error {
					return m.Resolve(t.Context(), 1, pgmigrate.ResolveApplied)
				},
			} {
				err := fn()
				var dirty *pgmigrate.DirtyError
				if call == "down" || call == "redo" {
					if !errors.As(err, &dirty) && !isIrreversible(err) {
						t.Errorf("%s: got %v", call, err)
					}
					continue
				}
				if !errors.As(err, &dirty) || dirty.Version != 2 || dirty.Statement != 2 || dirty.Line != 4 || dirty.Repeatable {
					t.Errorf("%s: got %v", call, err)
				} else if !strings.Contains(err.Error(), "2_b.sql:4") || !strings.Contains(err.Error(), "resolve version 2 as applied") {
					t.Errorf("%s: %q does not say where, or what to do", call, err)
				}
			}
			if s, err := m.Status(t.Context()); err != nil || s.Dirty == nil || s.Dirty.Version != 2 || s.Running != nil {
				t.Errorf("status: %+v, %v", s, err)
			}
			if v, err := m.SchemaVersion(t.Context(), b.conn); err != nil || v != (pgmigrate.SchemaVersion{Current: 1, Latest: 3, Dirty: true}) {
				t.Errorf("schema version: %+v, %v", v, err)
			}
			// An older folder has nothing to do with it.
			older := migrator(t, b, files("1_a.sql", "create table a (id int primary key);\n"))
			if r, err := older.Up(t.Context()); err != nil || len(r.Steps) != 0 {
				t.Errorf("an older folder: %+v, %v", r, err)
			}

			b.exec(t, test.by)
			if err := m.Resolve(t.Context(), 2, test.resolution); err != nil {
				t.Fatal(err)
			}
			if v, err := m.SchemaVersion(t.Context(), b.conn); err != nil || v.Dirty {
				t.Errorf("schema version after resolve: %+v, %v", v, err)
			}
			if r, err := m.Up(t.Context()); err != nil || r.To != 3 {
				t.Fatalf("up after resolve: %+v, %v", r, err)
			}
			if n := ask[int](t, b, "select count(*) from a"); n != test.rows {
				t.Errorf("%d rows, want %d", n, test.rows)
			}
		})
	}
}

func isIrreversible(err error) bool {
	var irreversible *pgmigrate.IrreversibleError
	return errors.As(err, &irreversible)
}

// What fails at its first statement has left nothing behind: when the cause is gone, Up runs it again.
func TestFirstStatementIsRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", noTx+"insert into later values (1);\ninsert into later values (2);\n"))
	for range 2 {
		_, err := m.Up(t.Context())
		var failed *pgmigrate.MigrationError
		if !errors.As(err, &failed) || !failed.Repeatable || !strings.Contains(err.Error(), "when the cause is gone, run it again") {
			t.Fatalf("got %v", err)
		}
	}
	b.exec(t, "create table later (n int)")
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A concurrent build that fails leaves an invalid index, which the next try drops and builds again, whatever the name's quotes.
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
			b.exec(t, "create schema s; create table s.a (id int); insert into s.a values (1), (1); create table a (id int); insert into a values (1), (1)")
			m := migrator(t, b, files("1_a.sql", noTx+test.statement))
			_, err := m.Up(t.Context())
			var failed *pgmigrate.MigrationError
			if !errors.As(err, &failed) || !failed.Repeatable || len(failed.InvalidIndexes) != 1 {
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

// IF NOT EXISTS takes an invalid index for the index. An index that somebody else has left behind is replaced as well.
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

// The session is ended between the last statement and the version: the index is there and valid, so that building it again
// would fail. The next run must not guess.
func TestKilledAfterBuild(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int)")
	folder := files("1_a.sql", noTx+"create index concurrently a_id on a (id);")
	b.config.Tracer = tracerFunc(func(data pgx.TraceQueryEndData) {
		if data.CommandTag.String() == "CREATE INDEX" {
			b.conn.Exec(context.WithoutCancel(t.Context()), "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pgmigrate'")
		}
	})
	_, err := migrator(t, b, folder).Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || failed.State != pgmigrate.StatePartlyApplied || !failed.ConnectionLost {
		t.Fatalf("got %v", err)
	}
	b.config.Tracer = nil
	m := migrator(t, b, folder)
	_, err = m.Up(t.Context())
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

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		version    int32
		resolution pgmigrate.Resolution
		want       string
	}{
		"outside the folder":  {4, pgmigrate.ResolveApplied, "the folder has versions"},
		"zero":                {0, pgmigrate.ResolveApplied, "the folder has versions"},
		"too far":             {3, pgmigrate.ResolveApplied, "2 is next"},
		"applied":             {1, pgmigrate.ResolveRolledBack, "migrate down"},
		"unknown resolution":  {1, "perhaps", "ResolveApplied or ResolveRolledBack"},
		"nothing interrupted": {2, pgmigrate.ResolveRolledBack, "it was not interrupted"},
	} {
		if err := m.Resolve(t.Context(), test.version, test.resolution); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// Finished by hand after tern itself, which keeps no history.
	b.exec(t, "alter table pages add title text")
	if err := m.Resolve(t.Context(), 2, pgmigrate.ResolveApplied); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Up(t.Context()); err != nil || r.From != 2 || r.To != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table pages (id int primary key, title text)")
	m := migrator(t, b, three())
	for _, version := range []int32{0, 4} {
		var versionErr *pgmigrate.VersionError
		if err := m.Baseline(t.Context(), version); !errors.As(err, &versionErr) {
			t.Errorf("baseline at %d: %v", version, err)
		}
	}
	if err := m.Baseline(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	s, err := m.Status(t.Context())
	if err != nil || s.Version != 2 || s.Migrations[1].Action != pgmigrate.ActionBaseline || s.Migrations[1].Recorded == "" {
		t.Errorf("status: %+v, %v", s, err)
	}
	if err := m.Baseline(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "at version 2 already") {
		t.Errorf("a second baseline: %v", err)
	}
	if err := m.Baseline(t.Context(), 2); err != nil {
		t.Errorf("the same baseline again: %v", err)
	}
	if r, err := m.Up(t.Context()); err != nil || r.From != 2 || r.To != 3 {
		t.Errorf("up: %+v, %v", r, err)
	}
	if entries, err := m.History(t.Context()); err != nil || len(entries) != 3 {
		t.Errorf("history: %+v, %v", entries, err)
	}
}

// Another session's build of the same index fails while the migration waits for its lock: IF NOT EXISTS then takes the invalid
// index for the index, and the server calls that a success.
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
	until("select exists (select from pg_stat_activity where datname = current_database() and application_name = 'pgmigrate' and wait_event_type = 'Lock')")
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
