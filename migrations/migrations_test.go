package migrations_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// marker is tern's line between the two halves of a file.
const marker = "---- create above / drop below ----"

type migration struct{ name, up, down string }

func load(t *testing.T) []migration {
	t.Helper()
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no migrations embedded: %v", err)
	}
	loaded := make([]migration, len(names))
	for i, name := range names {
		body, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		up, down, found := strings.Cut(string(body), marker)
		if !found {
			t.Fatalf("%s has no line %q", name, marker)
		}
		loaded[i] = migration{name, up, down}
	}
	return loaded
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	return connectTo(t, pgserver.Database(t))
}

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// migrated returns a connection to a database of its own with all migrations applied.
func migrated(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := connect(t)
	for _, m := range load(t) {
		run(t, conn, m.name+" up", m.up)
	}
	return conn
}

// run executes one half of a file as tern does: by the simple protocol, in one transaction.
func run(t *testing.T, conn *pgx.Conn, what, sql string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), sql)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// objects describes everything in the user's schemas, one line each, in the words of PostgreSQL's
// own catalog.
func objects(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		with spaces as (
		  select oid from pg_namespace where nspname not in ('pg_catalog', 'information_schema')
			and nspname !~ '^pg_(toast|temp)'
		)
		select format('class %s %s %s', relkind, oid::regclass, pg_get_indexdef(oid)) from pg_class
			where relnamespace in (select oid from spaces)
		union all select 'type ' || oid::regtype from pg_type where typnamespace in (select oid from spaces)
		union all select 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace in (select oid
			from spaces)
		union all select 'constraint ' || conrelid::regclass || conname || pg_get_constraintdef(oid)
		  from pg_constraint where connamespace in (select oid from spaces)
		union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger as t
			join pg_class as c on c.oid = tgrelid
		  where relnamespace in (select oid from spaces) and not tgisinternal
		union all select format('column %s %s %s %s %s', attrelid::regclass, attname, atttypid::regtype, attnotnull,
			pg_get_expr(adbin, adrelid))
		  from pg_attribute join pg_class as c on c.oid = attrelid left join pg_attrdef on adrelid = attrelid
			and adnum = attnum
		  where relnamespace in (select oid from spaces) and attnum > 0 and not attisdropped
		union all select 'schema ' || nspname from pg_namespace where oid in (select oid from spaces)
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func assertSame(t *testing.T, what string, want, got []string) {
	t.Helper()
	for _, o := range got {
		if !slices.Contains(want, o) {
			t.Errorf("%s: left behind: %s", what, o)
		}
	}
	for _, o := range want {
		if !slices.Contains(got, o) {
			t.Errorf("%s: lost: %s", what, o)
		}
	}
}

func TestEachDownUndoesItsUp(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	all := load(t)

	states := [][]string{objects(t, conn)}
	for i, m := range all {
		run(t, conn, m.name+" up", m.up)
		states = append(states, objects(t, conn))
		if slices.Equal(states[i], states[i+1]) {
			t.Errorf("%s: the up half changed nothing", m.name)
		}
		run(t, conn, m.name+" down", m.down)
		assertSame(t, m.name+" up and down", states[i], objects(t, conn))
		run(t, conn, m.name+" up again", m.up)
		assertSame(t, m.name+" up again", states[i+1], objects(t, conn))
	}
	for i, m := range slices.Backward(all) {
		run(t, conn, m.name+" down", m.down)
		assertSame(t, "down to before "+m.name, states[i], objects(t, conn))
	}
}

// An application's role owns its database and is no superuser; since PostgreSQL 15 that is what
// gives it the right to create in the schema public. All of it happens in one transaction, so that
// the role is gone with the rollback.
func TestOrdinaryOwnerMigrates(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })

	_, err = tx.Exec(t.Context(), `
		do $$
		declare
		  owner text := current_database() || '_owner';
		begin
		  execute format('create role %I nosuperuser', owner);
		  execute format('alter database %I owner to %I', current_database(), owner);
		  if current_setting('server_version_num')::int < 150000 then
		    execute format('alter schema public owner to %I', owner);
		  end if;
		  execute format('set local role %I', owner);
		end $$`)
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && pgErr.Code == "42501" {
		t.Skipf("the test server's role may not create roles: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}

	all := load(t)
	for _, m := range all {
		if _, err := tx.Exec(t.Context(), m.up); err != nil {
			t.Fatalf("%s up: %v", m.name, err)
		}
	}
	for _, m := range slices.Backward(all) {
		if _, err := tx.Exec(t.Context(), m.down); err != nil {
			t.Fatalf("%s down: %v", m.name, err)
		}
	}
}

func TestFilesAreWhatTernExpects(t *testing.T) {
	t.Parallel()
	traps := map[string]string{
		"a template action":   "{{",
		"a carriage return":   "\r",
		"a byte order mark":   "\ufeff",
		"a commit of its own": "\ncommit",
		"a second marker":     marker,
	}
	for _, m := range load(t) {
		for trap, text := range traps {
			if strings.Contains(m.up, text) || strings.Contains(m.down, text) {
				t.Errorf("%s contains %s", m.name, trap)
			}
		}
	}
}

// What a reviewer would ask of each table and function, asked of the catalog.
func TestHouseRulesOfTheSchema(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	for rule, offenders := range map[string]string{
		"a table has a comment": `
			select relname::text from pg_class
			where relnamespace = 'public'::regnamespace and relkind = 'r' and obj_description(oid, 'pg_class') is null`,
		"a function has a comment": `
			select proname::text from pg_proc
			where pronamespace = 'public'::regnamespace and obj_description(oid, 'pg_proc') is null`,
		"a function fixes its search_path": `
			select proname::text from pg_proc
			where pronamespace = 'public'::regnamespace
			  and not exists (select from unnest(proconfig) as setting where setting like 'search_path=%')`,
		"a foreign key has an index that begins with its columns or its first one": `
			select conname::text from pg_constraint
			where contype = 'f' and not exists (
			  select from pg_index
			  where indrelid = conrelid and indpred is null and indkey[0] = conkey[1])`,
		"a timestamp has a time zone": `
			select format('%s.%s', attrelid::regclass, attname) from pg_attribute join pg_class as c on c.oid = attrelid
			where relnamespace = 'public'::regnamespace and atttypid = 'timestamp'::regtype`,
		"a constraint has a name of ours: table_column_what": `
			select conname::text from pg_constraint
			where connamespace = 'public'::regnamespace and contype = 'c' and conname ~ '_check\d*$'`,
	} {
		rows, err := conn.Query(t.Context(), offenders)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		if len(names) > 0 {
			t.Errorf("%s: not so: %s", rule, strings.Join(names, ", "))
		}
	}
}
