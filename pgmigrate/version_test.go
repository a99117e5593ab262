package pgmigrate_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

func older(t *testing.T) fs.FS {
	t.Helper()
	return files("001_pages.sql",
		"create table pages (id int primary key);\n---- create above / drop below ----\ndrop table pages;\n")
}

// An older instance starts while a newer version is being deployed.
func TestDatabaseAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := migrator(t, b, older(t), pgmigrate.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	r, err := m.Up(t.Context())
	if err != nil || !r.Ahead() || r.To != 3 || r.Latest != 1 || len(r.Steps) != 0 {
		t.Errorf("up: %+v, %v", r, err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "database=3") {
		t.Errorf("no warning in %q", log.String())
	}
	strict := migrator(t, b, older(t), pgmigrate.WithStrict())
	var ahead *pgmigrate.VersionError
	if _, err := strict.Up(t.Context()); !errors.As(err, &ahead) || !ahead.Ahead {
		t.Errorf("strict: got %v", err)
	}
	s, err := m.Status(t.Context())
	if err != nil || !s.Ahead() || s.Pending() != 0 || !s.Migrations[0].Applied {
		t.Errorf("status: %+v, %v", s, err)
	}
	p, err := m.Plan(t.Context())
	if err != nil || !p.Ahead() || len(p.Steps) != 0 {
		t.Errorf("plan: %+v, %v", p, err)
	}
	for name, run := range map[string]func() error{
		"down": func() error { _, err := m.Down(t.Context()); return err },
		"redo": func() error { _, err := m.Redo(t.Context()); return err },
		"to 1": func() error { _, err := m.To(t.Context(), 1); return err },
	} {
		var versionErr *pgmigrate.VersionError
		if err := run(); !errors.As(err, &versionErr) || !versionErr.Ahead || versionErr.Database != 3 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if v := ask[int](t, b, "select version from schema_version"); v != 3 {
		t.Errorf("version %d, want 3", v)
	}
}

func TestVersionOutsideFolder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	for _, v := range []int32{-1, 4} {
		_, err := m.To(t.Context(), v)
		var versionErr *pgmigrate.VersionError
		if !errors.As(err, &versionErr) || versionErr.Ahead || versionErr.Target != v || versionErr.Latest != 3 {
			t.Errorf("to %d: got %v", v, err)
		}
	}
	if ask[bool](t, b, "select to_regclass('public.schema_version') is not null") {
		t.Error("a refused run has created the version table")
	}
}

// Refused before the reversible migrations on the way are rolled back.
func TestIrreversible(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", "create table a ();", "2_b.sql",
		"create table b ();\n---- create above / drop below ----\ndrop table b;"))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := m.To(t.Context(), 0)
	var irreversible *pgmigrate.IrreversibleError
	if !errors.As(err, &irreversible) || irreversible.Name != "1_a.sql" {
		t.Errorf("got %v", err)
	}
	if v := ask[int](t, b, "select version from schema_version"); v != 2 {
		t.Errorf("version %d, want 2", v)
	}
}

func TestRedo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if r, err := m.Redo(t.Context()); err != nil || len(r.Steps) != 0 {
		t.Errorf("redo at version 0: %+v, %v", r, err)
	}
	if _, err := m.To(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	r, err := m.Redo(t.Context())
	if err != nil || r.From != 2 || r.To != 2 || len(r.Steps) != 2 || r.Steps[0].Direction != "down" ||
		r.Steps[1].Direction != "up" {
		t.Errorf("redo: %+v, %v", r, err)
	}
}

func TestBadVersionTable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sql, want string }{
		"empty": {"create table schema_version (version int4 not null)", "it is empty"},
		"two rows": {
			"create table schema_version (version int4 not null); insert into schema_version values (1), (2)", "2 rows",
		},
		"negative": {
			"create table schema_version (version int4 not null); insert into schema_version values (-1)", "version -1",
		},
		"no column": {"create table schema_version (v int4)", "42703"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(t, test.sql)
			_, err := migrator(t, b, three()).Up(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(),
				"public.schema_version") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestVersionTableElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three(), pgmigrate.WithVersionTable("ops.version"))
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "create version table ops.version") {
		t.Errorf("without the schema: %v", err)
	}
	b.exec(t, "create schema ops")
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := ask[int](t, b, "select version from ops.version"); v != 3 {
		t.Errorf("version %d, want 3", v)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	p, err := m.Plan(t.Context())
	if err != nil || p.Version != 0 || len(p.Steps) != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	if ask[bool](t, b, "select to_regclass('public.schema_version') is not null") {
		t.Error("plan has created the version table")
	}
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p, err = m.Plan(t.Context())
	if err != nil || p.Version != 1 || p.Latest != 3 || len(p.Steps) != 2 ||
		p.Steps[0].Up != "alter table pages add title text;" {
		t.Errorf("%+v, %v", p, err)
	}
}
