package pgmigrate_test

import (
	"testing"
)

func TestUpDownStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())

	s, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != 0 || s.Tracked || s.Pending() != 3 {
		t.Errorf("status of an empty database: %+v", s)
	}
	if ask[bool](t, b, "select to_regclass('public.schema_version') is not null") {
		t.Error("status has created the version table")
	}

	r, err := m.Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.From != 0 || r.To != 3 || len(r.Steps) != 3 || r.Steps[2].Name != "003_index.sql" || r.Steps[2].Tries != 1 ||
		r.Steps[2].Duration <= 0 {
		t.Errorf("up: %+v", r)
	}
	if v := ask[int](t, b, "select version from schema_version"); v != 3 {
		t.Errorf("version %d after up, want 3", v)
	}

	r, err = m.Up(t.Context())
	if err != nil || r.From != 3 || r.To != 3 || len(r.Steps) != 0 {
		t.Errorf("second up: %+v, %v", r, err)
	}

	r, err = m.Down(t.Context())
	if err != nil || r.From != 3 || r.To != 2 || len(r.Steps) != 1 {
		t.Errorf("down: %+v, %v", r, err)
	}
	if ask[bool](t, b, "select to_regclass('pages_title') is not null") {
		t.Error("down has not dropped the index")
	}

	s, err = m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != 2 || !s.Tracked || s.Pending() != 1 || !s.Migrations[1].Applied || s.Migrations[2].Applied {
		t.Errorf("status at version 2: %+v", s)
	}

	r, err = m.To(t.Context(), 0)
	if err != nil || r.To != 0 || len(r.Steps) != 2 || r.Steps[0].Name != "002_title.sql" {
		t.Errorf("to 0: %+v, %v", r, err)
	}
	if r, err = m.Down(t.Context()); err != nil || len(r.Steps) != 0 {
		t.Errorf("down at version 0: %+v, %v", r, err)
	}
}
