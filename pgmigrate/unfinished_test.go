package pgmigrate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

// A section continues if the file still has the statements that ran. A statement that failed and
// left nothing may be corrected.
func TestInterruptedSectionThatWasEdited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const ran = noTx + "create table a (id int);\ninsert into a values (1);\n"
	_, err := migrator(t, b, files("1_a.sql", ran+"insert into a valuse (2);\n")).Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || !failed.Repeatable || failed.Statement != 3 || failed.Column != 15 {
		t.Fatalf("got %v", err)
	}
	corrected := ran + "insert into a values (2);\ninsert into a values (3);\n"
	before := strings.Replace(corrected, "values (1)", "values (0)", 1)
	_, err = migrator(t, b, files("1_a.sql", before)).Up(t.Context())
	var dirty *pgmigrate.DirtyError
	if !errors.As(err, &dirty) || dirty.Repeatable {
		t.Errorf("edited before: got %v", err)
	}
	if r, err := migrator(t, b, files("1_a.sql", corrected)).Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("corrected: %+v, %v", r, err)
	}
	if got := ask[string](t, b, "select string_agg(id::text, ',' order by id) from a"); got != "1,2,3" {
		t.Errorf("rows %s", got)
	}
}

// A section that tern itself has finished after an interruption is done.
func TestFinishedByTern(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	const interrupt = "update pgmigrate.history set progress = 'running' where id = (select max(id) from " +
		"pgmigrate.history)"
	for _, step := range []struct {
		next func() (pgmigrate.Result, error)
		to   int32
	}{
		{func() (pgmigrate.Result, error) { return m.Down(t.Context()) }, 2},
		{func() (pgmigrate.Result, error) { return m.Up(t.Context()) }, 3},
	} {
		b.exec(t, interrupt)
		if s, err := m.Status(t.Context()); err != nil || s.Dirty != nil {
			t.Errorf("before version %d: %+v, %v; want nothing dirty", step.to, s, err)
		}
		if r, err := step.next(); err != nil || r.To != step.to {
			t.Errorf("to version %d: %+v, %v", step.to, r, err)
		}
	}
}

// A migration that we rolled back and tern applied again counts as applied, without a checksum.
func TestAppliedByTernAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, firstTwo())
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ternUp(t.Context(), b.config, firstTwo()); err != nil {
		t.Fatal(err)
	}
	s, err := m.Status(t.Context())
	if err != nil || s.Version != 2 || !s.Migrations[0].Applied || s.Migrations[0].AppliedAt.IsZero() {
		t.Fatalf("got %+v, %v", s, err)
	}
	if second := s.Migrations[1]; !second.Applied || !second.AppliedAt.IsZero() || second.Edited {
		t.Errorf("the second is %+v, want it applied without an entry", second)
	}
}
