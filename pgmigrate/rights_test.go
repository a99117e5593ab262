package pgmigrate_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate"
)

// lesser returns the same database as another role, which has a few rights only.
func (b *bench) lesser(t *testing.T, grants string) *bench {
	t.Helper()
	role := b.config.Database + "_app" // roles are the server's
	quoted := pgx.Identifier{role}.Sanitize()
	b.exec(t, "create role "+quoted+" login; "+strings.ReplaceAll(grants, "ROLE", quoted))
	t.Cleanup(func() {
		conn, err := pgx.ConnectConfig(context.WithoutCancel(t.Context()), b.config)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(context.WithoutCancel(t.Context()),
			"drop owned by "+quoted+" cascade; drop role "+quoted); err != nil {
			t.Error(err)
		}
	})
	as := &bench{config: b.config.Copy()}
	as.config.User = role
	as.conn = as.connect(t)
	return as
}

// Another role has applied two of three migrations. Every call of a role that lacks a right says
// which one, and leaves nothing half done.
func TestRoleWithoutRights(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		version int32  // that the database is at
		grants  string // to ROLE, in addition to CREATE on the schema public
		want    map[string]string
	}{
		"that reads nothing": {2, "", map[string]string{
			"up": "read version table public.schema_version: ", "plan": "read version table public.schema_version: ",
			"status":         "read version table public.schema_version: ",
			"schema version": "read version table public.schema_version: ",
			"history":        "read history: ",
			"baseline":       "read version table public.schema_version: ",
			"resolve":        "read version table public.schema_version: ", "seed": "read seeds: ",
		}},
		"that writes nothing": {
			2,
			"grant select on schema_version, pgmigrate.history to ROLE; grant usage on schema pgmigrate to ROLE",
			map[string]string{
				"up": "migrate up: 003_index.sql: permission denied for table schema_version (SQLSTATE 42501); it runs " +
					"without " +
					"a transaction and failed before its " +
					"first statement, the database is at version 2: when the cause is gone, run it again",
				"seed": "create table pgmigrate.seed: ",
			},
		},
		"that cannot write the history": {
			0,
			"grant all on schema_version to ROLE; grant usage on schema pgmigrate to ROLE; grant select on " +
				"pgmigrate.history to ROLE",
			map[string]string{
				"baseline": "record 001_pages.sql in the history: ",
			},
		},
		"that cannot write the version": {
			0,
			"grant select on schema_version to ROLE; grant all on schema pgmigrate to ROLE; grant all on all tables " +
				"in schema pgmigrate to ROLE; " +
				"grant all on all sequences in schema pgmigrate to ROLE",
			map[string]string{
				"baseline": "write version table public.schema_version: ",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if _, err := migrator(t, b, firstTwo()).Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := migrator(t, b, firstTwo()).To(t.Context(), test.version); err != nil {
				t.Fatal(err)
			}
			entries := ask[int](t, b, "select count(*) from pgmigrate.history")
			b.exec(t, "create table done (id int)")
			as := b.lesser(t, "grant all on schema public to ROLE; "+test.grants)
			m := migrator(t, as, three())
			calls := map[string]func() error{
				"up":             func() error { _, err := m.Up(t.Context()); return err },
				"plan":           func() error { _, err := m.Plan(t.Context()); return err },
				"status":         func() error { _, err := m.Status(t.Context()); return err },
				"schema version": func() error { _, _, _, err := m.SchemaVersion(t.Context(), as.conn); return err },
				"history":        func() error { _, err := m.History(t.Context()); return err },
				"baseline":       func() error { return m.Baseline(t.Context(), 3) },
				"resolve":        func() error { return m.Resolve(t.Context(), 2, pgmigrate.ResolveApplied) },
				"seed": func() error {
					two := migrator(t, as, firstTwo()) // whose schema is complete
					_, err := two.Seed(t.Context(), files("1.sql", "insert into done values (1);"), "")
					return err
				},
			}
			for call, want := range test.want {
				err := calls[call]()
				if pgerr.Of(err) != pgerr.Permission || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v of category %s, want %q", call, err, pgerr.Of(err), want)
				}
			}
			if v := ask[int32](t, b, "select version from schema_version"); v != test.version {
				t.Errorf("version %d, want %d", v, test.version)
			}
			if n := ask[int](t, b, "select count(*) from pgmigrate.history"); n != entries {
				t.Errorf("%d entries in the history, want %d", n, entries)
			}
			if ask[bool](t, b, "select to_regclass('pages_title') is not null or exists (select from done)") {
				t.Error("something was done")
			}
		})
	}
}
