package pgmigrate_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

const noTx = "---- tern: disable-tx ----\n"

// failing is a folder whose second migration fails at its second statement: only a person can tell
// what to do.
func failing() fs.FS {
	return files("1_a.sql", "create table a (id int primary key);\n",
		"2_b.sql", noTx+"insert into a values (1);\n\ndo $$ begin commit; insert into a values (1); end $$;\ninsert into a values (2);\n",
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
				"seed":     func() error { _, err := m.Seed(t.Context(), files("1.sql", "select 1;"), ""); return err },
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
				if !errors.As(err, &dirty) || dirty.Version != 2 || dirty.Statement != 2 ||
					dirty.Line != 4 || dirty.Repeatable {
					t.Errorf("%s: got %v", call, err)
				} else if !strings.Contains(err.Error(), "2_b.sql:4") || !strings.Contains(err.Error(),
					"resolve version 2 as applied") {
					t.Errorf("%s: %q does not say where, or what to do", call, err)
				}
			}
			if s, err := m.Status(t.Context()); err != nil || s.Dirty == nil ||
				s.Dirty.Version != 2 || s.Running != nil {
				t.Errorf("status: %+v, %v", s, err)
			}
			if current, needed, dirty, err := m.SchemaVersion(t.Context(), b.conn); err != nil || current != 1 ||
				needed != 3 || !dirty {
				t.Errorf("schema version: %d of %d, dirty %v, %v", current, needed, dirty, err)
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
			if _, _, dirty, err := m.SchemaVersion(t.Context(), b.conn); err != nil || dirty {
				t.Errorf("schema version after resolve: dirty %v, %v", dirty, err)
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

// What fails at its first statement has left nothing behind: when the cause is gone, Up runs it
// again.
func TestFirstStatementIsRepeated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", noTx+"insert into later values (1);\ninsert into later values (2);\n"))
	for range 2 {
		_, err := m.Up(t.Context())
		var failed *pgmigrate.MigrationError
		if !errors.As(err, &failed) || !failed.Repeatable || !strings.Contains(err.Error(),
			"when the cause is gone, run it again") {
			t.Fatalf("got %v", err)
		}
	}
	b.exec(t, "create table later (n int)")
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
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
		if err := m.Resolve(t.Context(), test.version, test.resolution); err == nil ||
			!strings.Contains(err.Error(), test.want) {
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
