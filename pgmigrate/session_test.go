package pgmigrate_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// Whatever a file leaves in its session, the next file, the history and the version do not see it.
func TestSessionIsResetBetweenMigrations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := ask[string](t, b, "select 'leak_' || oid from pg_database where datname = current_database()")
	b.exec(t, "create role "+role+"; create schema other")
	t.Cleanup(func() { b.conn.Exec(context.Background(), "drop owned by "+role+"; drop role "+role) })
	for name, leak := range map[string]string{
		"role":                  "set role " + role,
		"session authorization": "set session authorization " + role,
		"search_path":           "set search_path = other",
		"settings":              "set lock_timeout = 7; set my.setting = 'x'",
		"temporary table":       "create temp table users (id int)",
		"cursor":                "declare c cursor with hold for select 1",
		"prepared statement":    "prepare p as select 1",
		"listen":                "listen c",
		"advisory locks": "select pg_advisory_lock(-5), pg_advisory_lock(-5), pg_advisory_lock_shared(6), " +
			"pg_advisory_lock(-7, 8), pg_advisory_lock_shared(9, -10)",
		"migration lock":    "select pg_advisory_unlock_all()",
		"limits of the run": "set idle_in_transaction_session_timeout = 60000; set default_transaction_read_only = on",
	} {
		const clean = `do $$ begin
if current_user <> session_user then raise 'role %', current_user; end if;
if session_user <> (select usename from pg_stat_activity where pid = pg_backend_pid()) then raise 'user'; end if;
if current_setting('search_path') <> '"$user", public' then raise 'search_path'; end if;
if current_setting('lock_timeout') not in ('2s', '0') then raise 'lock_timeout'; end if;
if coalesce(current_setting('my.setting', true), '') <> '' then raise 'setting'; end if;
if exists (select from pg_class where relpersistence = 't') then raise 'temporary table'; end if;
if exists (select from pg_cursors where is_holdable) then raise 'cursor'; end if;
if exists (select from pg_prepared_statements where name = 'p') then raise 'prepared statement'; end if;
if exists (select from pg_listening_channels()) then raise 'listen'; end if;
if (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) <> 1 then
  raise 'locks';
end if;
end $$;
create table if not exists public.seen ();`
		for _, marker := range []string{"", disableTx} {
			t.Run(name+" "+marker[:min(len(marker), 4)], func(t *testing.T) {
				b.exec(t, "drop table if exists schema_version; drop schema if exists pgmigrate cascade")
				m := migrator(t, b, files("1_a.sql", marker+leak, "2_b.sql", clean, "3_c.sql", disableTx+clean))
				if r, err := m.Up(t.Context()); err != nil || r.To != 3 {
					t.Fatalf("%+v, %v", r, err)
				}
				if n := ask[int](t, b, "select count(*) from pgmigrate.history where progress = 'done' and role = "+
					"session_user"); n != 3 {
					t.Errorf("%d entries", n)
				}
				seeds := files("1.sql", leak, "2.sql", clean)
				if result, err := m.Seed(t.Context(), seeds, ""); err != nil || len(result.Run) != 2 {
					t.Errorf("seeds: %+v, %v", result, err)
				}
			})
		}
	}
}

// A section that gives the session lock away must not let two instances apply a migration twice,
// nor make one of them stop for a person.
func TestMigrationLockGivenAway(t *testing.T) {
	t.Parallel()
	for name, marker := range map[string]string{"in a transaction": "", "statement by statement": disableTx} {
		for _, release := range []string{"select pg_advisory_unlock_all();\nselect pg_sleep(0.5)", "select f(), pg_sleep(0.5)"} {
			t.Run(name+" "+release[:8], func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.exec(t, "create table runs (n int); "+
					"create function f() returns void language sql as 'select pg_advisory_unlock_all()'")
				folder := files("1_a.sql", marker+release+";\ninsert into runs values (1);\n",
					"2_b.sql", marker+"insert into runs values (2);\nselect pg_sleep(0.3);\n",
					"3_c.sql", "insert into runs values (3);")
				var wg sync.WaitGroup
				for range 4 {
					m := migrator(t, b, folder)
					wg.Go(func() {
						if r, err := m.Up(t.Context()); err != nil || r.To != 3 {
							t.Errorf("%+v, %v", r, err)
						}
					})
				}
				wg.Wait()
				if got := ask[string](t, b, "select string_agg(n::text, ',' order by n) from runs"); got != "1,2,3" {
					t.Errorf("ran %s", got)
				}
			})
		}
	}
}

// What an interrupted section has done is not done again: the application has written meanwhile.
func TestContinuationRepeatsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table dups (id int); insert into dups values (1), (1); create schema app")
	folder := files("1_a.sql", disableTx+`set search_path = app;
drop table if exists pages;
create table if not exists pages (id int);
create unique index concurrently dups_id on public.dups (id);
create table last (id int);
`)
	_, err := migrator(t, b, folder).Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || failed.Statement != 4 || !failed.Repeatable {
		t.Fatalf("got %v", err)
	}
	b.exec(t, "insert into app.pages values (42); delete from dups")
	if r, err := migrator(t, b, folder).Up(t.Context()); err != nil || r.To != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := ask[int](t, b, "select count(*) from app.pages"); n != 1 {
		t.Errorf("the row that the application wrote is gone")
	}
	if !ask[bool](t, b, "select to_regclass('app.last') is not null") {
		t.Error("the setting of the first statement did not hold in the continuation")
	}
}

// What the first statements have left in the session cannot be repeated.
func TestContinuationNeedsSession(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"create temp table x (id int);\ninsert into y select * from x;\n",
		"do $$ begin set search_path = pg_catalog; end $$;\ninsert into y values (1);\n",
	} {
		b := setup(t)
		m := migrator(t, b, files("1_a.sql", disableTx+sql))
		_, err := m.Up(t.Context())
		var failed *pgmigrate.MigrationError
		if !errors.As(err, &failed) || failed.Repeatable {
			t.Fatalf("%s: got %v", sql, err)
		}
		var dirty *pgmigrate.DirtyError
		if _, err = m.Up(t.Context()); !errors.As(err, &dirty) {
			t.Errorf("%s: got %v", sql, err)
		}
	}
}

// What the section has set does not keep its failure from being recorded.
func TestFailureUnderLimitsOfSection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := ask[string](t, b, "select 'poor_' || oid from pg_database where datname = current_database()")
	b.exec(t, "create role "+role)
	t.Cleanup(func() { b.conn.Exec(context.Background(), "drop role "+role) })
	for name, limits := range map[string]string{
		"role": "set role " + role, "timeout": "set statement_timeout = 1", "read-only": "set default_transaction_read_only = on",
	} {
		b.exec(t, "drop table if exists schema_version, later; drop schema if exists pgmigrate cascade")
		sql := limits + ";\nselect pg_sleep(0.1), * from later;\n"
		_, err := migrator(t, b, files("1_a.sql", disableTx+sql)).Up(t.Context())
		var failed *pgmigrate.MigrationError
		if !errors.As(err, &failed) || !failed.Repeatable || failed.Database != 0 {
			t.Errorf("%s: got %v", name, err)
		}
		corrected := strings.Replace(sql, "select pg_sleep(0.1), * from later", "select 1", 1)
		if r, err := migrator(t, b, files("1_a.sql", disableTx+corrected)).Up(t.Context()); err != nil || r.To != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// A section that has opened a transaction must end it: the server would roll it back.
func TestTransactionLeftOpen(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"begin;\ncreate table a ();\n", "create table a ();\nstart transaction;\n",
		"begin; commit;\nbegin; savepoint x; rollback to x;\n",
	} {
		_, err := pgmigrate.Check(files("1_a.sql", disableTx+sql))
		var folder *pgmigrate.FolderError
		if !errors.As(err, &folder) || !strings.Contains(folder.Problems[0].Detail, "never committed") {
			t.Errorf("%q: %v", sql, err)
		}
	}
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", disableTx+"begin;\ncreate table a (id int);\ninsert into a values ('x');\ncommit;\n"))
	var failed *pgmigrate.MigrationError
	if _, err := m.Up(t.Context()); !errors.As(err, &failed) || failed.Line != 4 || !failed.Repeatable {
		t.Fatalf("got %v", err)
	}
	m = migrator(t, b, files("1_a.sql", disableTx+"begin;\ncreate table a (id int);\ninsert into a values (1);\ncommit;\n"))
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	// If the second half of a chain fails, the first has been committed.
	m = migrator(t, b, files("1_a.sql", disableTx+"begin;\ncreate table a (id int);\ninsert into a values (1);\ncommit;\n",
		"2_b.sql", disableTx+"begin;\ninsert into a values (2);\ncommit and chain;\ninsert into a values ('x');\ncommit;\n"))
	var folder *pgmigrate.FolderError
	if _, err := m.Up(t.Context()); !errors.As(err, &folder) || !strings.Contains(err.Error(), "2_b.sql:4") {
		t.Errorf("got %v", err)
	}
	// A section that runs in a transaction must not end it.
	m = migrator(t, b, files("1_a.sql", disableTx+"begin;\ncreate table a (id int);\ninsert into a values (1);\ncommit;\n",
		"2_b.sql", "create table b ();\ncommit;\ncreate table c ();\n"))
	if _, err := m.Up(t.Context()); !errors.As(err, &folder) || !strings.Contains(err.Error(), "2_b.sql:2") {
		t.Errorf("got %v", err)
	}
}

// The limits of the role are made for the application.
func TestLimitsOfRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := ask[string](t, b, "select 'limited_' || oid from pg_database where datname = current_database()")
	b.exec(t, "create role "+role+" login superuser; alter role "+role+" set idle_session_timeout = 50; alter role "+role+
		" set idle_in_transaction_session_timeout = 50; alter role "+role+" set default_transaction_read_only = on; alter role "+
		role+" set standard_conforming_strings = off; alter role "+role+" set client_encoding = 'LATIN1'; alter role "+role+
		" set default_transaction_isolation = 'serializable'")
	t.Cleanup(func() { b.conn.Exec(context.Background(), "drop role "+role) })
	// The version's row is locked for longer than the limits.
	held, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Rollback(context.WithoutCancel(t.Context()))
	limits := []string{"statement_timeout", "lock_timeout"}
	if ask[int](t, b, "select current_setting('server_version_num')::int") >= 170000 {
		limits = append(limits, "transaction_timeout")
	}
	for _, limit := range limits {
		b.exec(t, "alter role "+role+" set "+limit+" = 500")
		b.exec(t, "alter database "+b.config.Database+" set "+limit+" = 500")
	}
	as := &bench{config: b.config.Copy()}
	as.config.User = role
	const sleep = "select pg_sleep(0.3);\n"
	folder := files("1_pages.sql", firstPages, "2_title.sql", sleep+sleep+thenTitle, "3_index.sql", disableTx+
		"begin;\n"+sleep+sleep+"commit;\ncreate index concurrently pages_title on pages (title);\n"+sleep)
	var released sync.WaitGroup
	pause := pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind != pgmigrate.EventStart {
			return
		}
		time.Sleep(100 * time.Millisecond) // the session is idle for longer than the role's limit
		if e.Version == 3 {
			if _, err := held.Exec(t.Context(), "select * from schema_version for update"); err != nil {
				t.Error(err)
			}
			released.Add(1)
			time.AfterFunc(time.Second, func() {
				defer released.Done()
				held.Rollback(context.Background())
			})
		}
	})
	if r, err := migrator(t, as, folder, pause).Up(t.Context()); err != nil || r.To != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	released.Wait()
	seeds := files("1.sql", "insert into pages values (1, 'é ' || current_setting('transaction_isolation'))")
	if _, err := migrator(t, as, folder).Seed(t.Context(), seeds, ""); err != nil {
		t.Error(err)
	}
	if got := ask[string](t, b, "select title from pages"); got != "é read committed" {
		t.Errorf("got %q", got)
	}
}

// Statement by statement, a disable-tx section queues for table locks no longer than one in a
// transaction does, and tries again.
func TestStatementIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table pages (id int); create table done (id int)")
	tx, err := b.connect(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select * from pages"); err != nil {
		t.Fatal(err)
	}
	retries := 0
	m := migrator(t, b, files("1_a.sql", disableTx+"insert into done values (1);\nalter table pages add title text;\n"),
		pgmigrate.WithLockTimeout(50*time.Millisecond), pgmigrate.WithProgress(func(e pgmigrate.Event) {
			if e.Kind == pgmigrate.EventRetry {
				if retries++; retries == 2 {
					tx.Rollback(t.Context())
				}
			}
		}))
	if r, err := m.Up(t.Context()); err != nil || r.To != 1 || retries < 2 {
		t.Errorf("%+v, %v, %d retries", r, err, retries)
	}
	if n := ask[int](t, b, "select count(*) from done"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// The number of an entry does not come from a sequence, which a restore may have set back.
func TestHistoryAfterRestore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, firstTwo()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.exec(t, "create table copy as select * from pgmigrate.history; delete from pgmigrate.history; "+
		"insert into pgmigrate.history select * from copy")
	if r, err := migrator(t, b, three()).Up(t.Context()); err != nil || r.To != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A typo in the last migration is corrected without a person's resolution.
func TestRedoAfterEdit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, firstTwo()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	edited := func() fs.FS {
		return files("001_pages.sql", firstPages, "002_title.sql", "alter table pages add title varchar;\n"+below+
			"alter table pages drop title;\n")
	}
	m := migrator(t, b, edited())
	if _, err := m.Up(t.Context()); !errors.As(err, new(*pgmigrate.EditedError)) {
		t.Errorf("up: got %v", err)
	}
	if r, err := m.Redo(t.Context()); err != nil || r.To != 2 {
		t.Errorf("redo: %+v, %v", r, err)
	}
	if r, err := m.Up(t.Context()); err != nil || len(r.Steps) != 0 {
		t.Errorf("up: %+v, %v", r, err)
	}
}

// A function may release the migration lock and take another, without a word of it in the file.
func TestFunctionReleasesMigrationLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create function f() returns void language sql as "+
		"'select pg_advisory_unlock_all(); select pg_advisory_lock(77)'")
	all := "select count(*) from pg_locks where locktype = 'advisory' and " +
		"database = (select oid from pg_database where datname = current_database())"
	locks := all + " and pid = pg_backend_pid()"
	m := migrator(t, b, files("1_a.sql", "select f();", "2_b.sql", "create table b as "+locks+" and objid <> 77;",
		"3_c.sql", disableTx+"select f();\ncreate table c as "+locks+" and objid <> 77;"))
	if r, err := m.Up(t.Context()); err != nil || r.To != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := ask[int](t, b, "select (select count from b) + (select count from c)"); n != 2 {
		t.Errorf("the migration lock was held %d times, want 2", n)
	}
	if n := ask[int](t, b, all); n != 0 {
		t.Errorf("%d locks left", n)
	}
}

// A ROLLBACK in the section takes back what was set since its BEGIN, but not the lock timeout.
func TestLockTimeoutOfStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table seen (step int, v text)")
	const note = "insert into seen values (%, current_setting('lock_timeout'))"
	at := func(step string) string { return strings.Replace(note, "%", step, 1) }
	m := migrator(t, b, files("1_a.sql", disableTx+"begin;\n"+at("0")+";\nrollback;\n"+at("1")+";\n"+
		"do $$ begin "+at("2")+"; end $$;\ndo $$ begin commit; "+at("3")+"; end $$;\n"))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, b, "select string_agg(v, ',' order by step) from seen"); got != "2s,2s,0" {
		t.Errorf("got %s", got)
	}
}

// A partition is detached, or a table reindexed, as soon as its lock is free, and nobody waits
// behind the migration for longer than the lock timeout.
func TestStatementThatNeedsNoPatience(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"alter table p detach partition p1", "reindex table p1", "cluster p1 using p1_pkey",
		"do $$ begin alter table p add x int; end $$",
	} {
		b := setup(t)
		b.exec(t, "create table p (id int primary key) partition by range (id); "+
			"create table p1 partition of p for values from (0) to (9)")
		tx, err := b.connect(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "lock table p1, p in access share mode; lock table p1 in row exclusive mode"); err != nil {
			t.Fatal(err)
		}
		retries := 0
		m := migrator(t, b, files("1_a.sql", disableTx+sql+";"), pgmigrate.WithLockTimeout(20*time.Millisecond),
			pgmigrate.WithProgress(func(e pgmigrate.Event) {
				if e.Kind == pgmigrate.EventRetry {
					retries++
					tx.Rollback(t.Context())
				}
			}))
		if r, err := m.Up(t.Context()); err != nil || r.To != 1 || retries != 1 {
			t.Errorf("%s: %+v, %v, %d retries", sql, r, err, retries)
		}
	}
}

// A file may leave deferred triggers on a temporary table.
func TestTemporaryTableWithDeferredKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const sql = "create temp table p (id int primary key); create temp table c (id int references p deferrable " +
		"initially deferred); insert into c values (1); insert into p values (1);"
	m := migrator(t, b, files("1_a.sql", sql), pgmigrate.WithRepeatable(files("r.sql", sql)))
	if _, err := m.Up(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := m.Seed(t.Context(), files("1_a.sql", sql), ""); err != nil {
		t.Error(err)
	}
}

// The encoding that a file sets does not reach the names in our tables.
func TestEncodingOfSection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const latin = "set client_encoding = 'LATIN1';\nselect 1;\n"
	m := migrator(t, b, files("1_é.sql", latin, "2_é.sql", disableTx+latin), pgmigrate.WithRepeatable(files("é.sql", latin)))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Seed(t.Context(), files("é.sql", latin), ""); err != nil {
		t.Fatal(err)
	}
	if got := ask[string](t, b, "select string_agg(name, ' ' order by id) || (select ' ' || min(path) from "+
		"pgmigrate.seed) || (select ' ' || min(path) from pgmigrate.repeatable) from pgmigrate.history"); got !=
		"1_é.sql 2_é.sql é.sql é.sql" {
		t.Errorf("got %s", got)
	}
}
