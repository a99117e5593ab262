package pgmigrate_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestEdited(t *testing.T) {
	t.Parallel()
	folder := func(shared, down string) fstest.MapFS {
		return fstest.MapFS{
			"001_a.sql":  {Data: []byte("create table a (id int);\n" + down)},
			"002_b.sql":  {Data: []byte("{{ template \"s/t.sql\" . }}")},
			"003_c.sql":  {Data: []byte("select 1;")},
			"s/t.sql":    {Data: []byte(shared)},
			"README.txt": {Data: []byte(down)},
		}
	}
	b := setup(t)
	if _, err := migrator(t, b, folder("select 2;", "")).To(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		folder fstest.MapFS
		want   string
	}{
		"unchanged":         {folder("select 2;", ""), ""},
		"a shared template": {folder("select 3;", ""), "002_b.sql was edited"},
		"a down section": {
			folder("select 2;", "---- create above / drop below ----\ndrop table a;"), "001_a.sql was edited",
		},
		"both": {folder("select 3;", "\n-- a comment"), "001_a.sql, 002_b.sql were edited"},
	} {
		t.Run(name, func(t *testing.T) {
			m := migrator(t, b, test.folder)
			runs := map[string]func() error{
				"plan": func() error { _, err := m.Plan(t.Context()); return err },
			}
			if test.want != "" {
				runs["up"] = func() error { _, err := m.Up(t.Context()); return err }
				runs["down"] = func() error { _, err := m.Down(t.Context()); return err }
				runs["to 2"] = func() error { _, err := m.To(t.Context(), 2); return err } // nothing to do
			}
			for run, fn := range runs {
				err := fn()
				if test.want == "" && err == nil {
					continue
				}
				var edited *pgmigrate.EditedError
				if !errors.As(err, &edited) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want %q", run, err, test.want)
				}
			}
			s, err := m.Status(t.Context())
			if err != nil || s.Migrations[1].Edited != strings.Contains(test.want, "002_b") {
				t.Errorf("status: %+v, %v", s, err)
			}
		})
	}

	// Once accepted, the file counts as applied.
	m := migrator(t, b, folder("select 3;", ""))
	if err := m.Resolve(t.Context(), 2, pgmigrate.ResolveApplied); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Up(t.Context()); err != nil || len(r.Steps) != 1 {
		t.Errorf("up after resolve: %+v, %v", r, err)
	}
}
