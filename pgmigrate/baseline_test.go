package pgmigrate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

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
	if err != nil || s.Version != 2 || s.Migrations[1].Action != pgmigrate.ActionBaseline ||
		s.Migrations[1].Recorded == "" {
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
