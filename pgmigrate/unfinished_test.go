package pgmigrate_test

import (
	"errors"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

// A section that may run again is continued as long as it is the one that was begun.
func TestInterruptedSectionThatWasEdited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const begun = noTx + "create table if not exists a (id int);\ninsert into b values (1);\n"
	_, err := migrator(t, b, files("1_a.sql", begun)).Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || !failed.Repeatable || failed.Statement != 2 {
		t.Fatalf("got %v", err)
	}
	b.exec(t, "create table b (id int)")
	_, err = migrator(t, b, files("1_a.sql", begun+"insert into b values (2);\n")).Up(t.Context())
	var dirty *pgmigrate.DirtyError
	if !errors.As(err, &dirty) || dirty.Repeatable {
		t.Errorf("edited: got %v", err)
	}
	if r, err := migrator(t, b, files("1_a.sql", begun)).Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("as it was: %+v, %v", r, err)
	}
	if n := ask[int](t, b, "select count(*) from b"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// A process that ended between recording the version and noting that in the history has done its
// work: the next run puts that right.
func TestHistoryIsCompleted(t *testing.T) {
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
		entries, err := m.History(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Progress != pgmigrate.ProgressDone {
				t.Errorf("at version %d: %+v, want it done", step.to, e)
			}
		}
	}
}

// What was rolled back by us and applied again by tern itself is applied, and nobody knows as what.
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
		t.Errorf("the second is %+v, want it applied by somebody", second)
	}
}
