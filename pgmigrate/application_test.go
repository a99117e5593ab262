package pgmigrate_test

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// catalog lists the objects of a database that are not PostgreSQL's own, but for the version
// table and the history.
const catalog = `
with own as (select oid from pg_namespace where nspname = 'pgmigrate')
select kind || ' ' || name from (
  select 'relation ' || relkind::text kind, relname::text name, relnamespace from pg_class where oid >= 16384
	and relname <> 'schema_version'
  union all select 'function', proname, pronamespace from pg_proc where oid >= 16384
  union all select 'type', typname, typnamespace from pg_type where oid >= 16384
	and typname not in ('schema_version', '_schema_version')
  union all select 'operator', oprname, oprnamespace from pg_operator where oid >= 16384
  union all select 'constraint', conname, connamespace from pg_constraint where oid >= 16384
    and conname <> 'schema_version_version_not_null' -- PostgreSQL 18 lists these
  union all select 'trigger', tgname, 0 from pg_trigger where oid >= 16384
  union all select 'schema', nspname, oid from pg_namespace where oid >= 16384
  union all select 'extension', extname, 0 from pg_extension where oid >= 16384
  union all select 'event trigger', evtname, 0 from pg_event_trigger where oid >= 16384
  union all select 'policy', polname, 0 from pg_policy where oid >= 16384
  union all select 'publication', pubname, 0 from pg_publication where oid >= 16384
) o where relnamespace not in (select oid from own) and name not like 'pg\_toast%' order by 1`

// The application's folder, up and down again, leaves nothing but the version table and the
// history.
func TestApplicationThereAndBack(t *testing.T) {
	t.Parallel()
	const folder = "../migrations"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the application's migrations are not next to this module")
	}
	for name, fsys := range map[string]fs.FS{"application": os.DirFS(folder), "three": three()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			objects := func() []string {
				rows, err := b.conn.Query(t.Context(), catalog)
				if err != nil {
					t.Fatal(err)
				}
				list, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					t.Fatal(err)
				}
				return list
			}
			before := objects()
			m := migrator(t, b, fsys)
			for range 2 {
				if _, err := m.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
				between := objects()
				if len(between) <= len(before) {
					t.Fatalf("the migrations have made nothing: %q", between)
				}
				if _, err := m.To(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				t.Logf("%d objects at version %d", len(between)-len(before), len(m.Migrations()))
			}
			if after := objects(); !slices.Equal(after, before) {
				t.Errorf("left behind:\n%s", strings.Join(after, "\n"))
			}
			if v := fmt.Sprint(ask[int](t, b, "select version from schema_version"),
				ask[int](t, b, "select count(*) from pgmigrate.history")); v != fmt.Sprint(0, 4*len(m.Migrations())) {
				t.Errorf("version and history entries: %s", v)
			}
		})
	}
}
