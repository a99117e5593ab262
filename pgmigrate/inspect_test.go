package pgmigrate_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// An unprivileged role makes our tables first. What it hangs on them must not run with the rights
// of the role that migrates.
func TestTablesOfUntrustedRole(t *testing.T) {
	t.Parallel()
	const history = `create schema pgmigrate; create table pgmigrate.history (
  version_table text, id int8, version int4, name text, action text, progress text, checksum text, statement int4,
  line int4, repeatable bool, index_name text, drops_index bool, before text, current text, started_at timestamptz,
  duration_ms float8, role text, client text, primary key (version_table, id));`
	const escalate = `create function public.escalate() returns trigger language plpgsql as $$
begin execute 'alter role ' || quote_ident(current_database() || '_app') || ' superuser'; return new; end $$;`
	for name, sql := range map[string]string{
		"trigger on the history": history + escalate +
			"create trigger t before insert on pgmigrate.history execute function public.escalate();",
		"trigger on the version": "create table schema_version (version int4 not null); " +
			"insert into schema_version values (0);" + escalate +
			"create trigger t before update on schema_version execute function public.escalate();",
		"schema": "create schema pgmigrate;",
		"view": `create table schema_version (version int4 not null); insert into schema_version values (0);
create schema pgmigrate; create function public.escalate() returns text language plpgsql as $$
begin execute 'alter role ' || quote_ident(current_database() || '_app') || ' superuser'; return 'x'; end $$;
create view pgmigrate.history as select 1::int8 as id, 1 as version, 'up' as action, 'done' as progress,
  public.escalate() as checksum, '001_pages.sql' as name, 'public.schema_version' as version_table;`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			as := b.lesser(t, "grant all on schema public to ROLE; grant create on database "+
				pgx.Identifier{b.config.Database}.Sanitize()+" to ROLE")
			as.exec(t, sql)
			m := migrator(t, b, three())
			_, err := m.Up(t.Context())
			if err == nil || !strings.Contains(err.Error(), as.config.User) && !strings.Contains(err.Error(), "view") {
				t.Errorf("up: %v", err)
			}
			for call, fn := range map[string]func() error{
				"status":  func() error { _, err := m.Status(t.Context()); return err },
				"history": func() error { _, err := m.History(t.Context()); return err },
				"seed":    func() error { _, err := m.Seed(t.Context(), files("1.sql", "select 1;"), ""); return err },
			} {
				if err := fn(); name == "view" && (err == nil || !strings.Contains(err.Error(), "a view has replaced")) {
					t.Errorf("%s: %v", call, err)
				}
			}
			if ask[bool](t, b, "select rolsuper from pg_roles where rolname = current_database() || '_app'") {
				t.Error("the role has made itself a superuser")
			}
			// Its own migrations are its own affair.
			_, err = migrator(t, as, three()).Up(t.Context())
			if err != nil && strings.Contains(err.Error(), "owner") {
				t.Errorf("as the owner: %v", err)
			}
		})
	}
}

// The untrusted role makes its tables while the run waits for the migration lock.
func TestTablesMadeDuringWait(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"create schema pgmigrate",
		"create table schema_version (version int4 not null); insert into schema_version values (0)",
	} {
		b := setup(t)
		as := b.lesser(t, "grant all on schema public to ROLE; grant create on database "+
			pgx.Identifier{b.config.Database}.Sanitize()+" to ROLE")
		if _, err := b.conn.Exec(t.Context(), "select pg_advisory_lock($1)", ternLock); err != nil {
			t.Fatal(err)
		}
		m := migrator(t, b, three(), pgmigrate.WithProgress(func(e pgmigrate.Event) {
			if e.Kind == pgmigrate.EventWaiting {
				as.exec(t, sql)
				b.exec(t, "select pg_advisory_unlock_all()")
			}
		}))
		if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), as.config.User) {
			t.Errorf("%s: %v", sql, err)
		}
		if ask[bool](t, b, "select to_regclass('pages') is not null") {
			t.Error("a migration ran")
		}
	}
}

// A run waits longer than the lock timeout for a session that has locked the version table, even if
// it has nothing to do.
func TestVersionTableIsLocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx, err := b.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), "lock table schema_version"); err != nil {
		t.Fatal(err)
	}
	tried := false
	m := migrator(t, b, three(), pgmigrate.WithLockTimeout(1), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventRetry && !tried {
			tried = true
			if err := tx.Rollback(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}))
	if r, err := m.Up(t.Context()); err != nil || r.To != 3 || !tried {
		t.Errorf("%+v, %v, tried %t", r, err, tried)
	}
}

// Another project's database is not an edit.
func TestDatabaseOfAnotherFolder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := files("001_users.sql", "create table users (id int);", "002_roles.sql", "create table roles (id int);")
	if _, err := migrator(t, b, other).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := migrator(t, b, three()).Up(t.Context())
	var edited *pgmigrate.EditedError
	if !errors.As(err, &edited) || !edited.Foreign() || strings.Contains(err.Error(), "resolve") ||
		!strings.Contains(err.Error(), "has applied 001_users.sql as version 1, and the folder has 001_pages.sql") {
		t.Errorf("got %v", err)
	}
}
