package pgmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestMigrationError(t *testing.T) {
	t.Parallel()
	const good = "create table a (id int primary key);\n"
	const downMark = "---- create above / drop below ----\n"
	const noTx = "---- tern: disable-tx ----\n"
	for name, test := range map[string]struct {
		files   []string
		data    map[string]any
		from    int32 // where to migrate to first
		down    bool
		want    pgmigrate.MigrationError
		code    string
		message []string // parts of the text
	}{
		"unknown column": {
			files: []string{
				"1_a.sql", good, "2_b.sql",
				"\n\n-- é, two bytes; 世, three\nselect 1;\nalter table a\n  alter column nope type text;\n",
			},
			want: pgmigrate.MigrationError{
				Version: 2, Name: "2_b.sql", Direction: "up", Line: 5, Column: 1,
				State: pgmigrate.StateRolledBack, Database: 1,
			},
			code: "42703", // the server gives no position for this one: the statement begins there
		},
		"syntax error after wide characters": {
			files: []string{
				"1_a.sql", good, "2_b.sql",
				"\n\n-- é, two bytes; 世世世世世世世世, three\nselect 'é';\nselect 1,\n  from;\nselect 2;\n",
			},
			want: pgmigrate.MigrationError{
				Version: 2, Name: "2_b.sql", Direction: "up", Line: 6, Column: 3,
				State: pgmigrate.StateRolledBack, Database: 1,
			},
			code: "42601",
			message: []string{
				"migrate up: 2_b.sql:6:3: ", "(SQLSTATE 42601)", "rolled back", "the database is at version 1",
			},
		},
		"in the down section": {
			files: []string{"1_a.sql", good + downMark + "\n\ndrop table a;\nselect nope;\n"}, from: 1, down: true,
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "down", Line: 6, Column: 8,
				State: pgmigrate.StateRolledBack, Database: 1,
			},
			code:    "42703",
			message: []string{"migrate down: 1_a.sql:6:8: ", "the database is at version 1"},
		},
		"without a transaction": {
			files: []string{
				"1_a.sql", noTx + "\ncreate table a (id int);\n\n-- twice the same\ninsert into a values (1);\n" +
					"insert into a values (1);\n/* ; */\n-- ;\n  create unique index concurrently a_id on a (id);\n" +
					"select 1;\n",
			},
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "up", Line: 10, Column: 3,
				State: pgmigrate.StatePartlyApplied, Database: 0,
				Statement: 4, InvalidIndexes: []string{"a_id"},
			},
			code:    "23505", // no position: the statement's own line
			message: []string{"at statement 4", "version 0", "run it again", "invalid indexes: a_id"},
		},
		"the second of two equal statements": {
			files: []string{
				"1_a.sql", noTx +
					"create table a (id int primary key);\ninsert into a values (1);\ninsert into a values (1);\n",
			},
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "up", Line: 4, Column: 1, State: pgmigrate.StatePartlyApplied,
				Statement: 3,
			},
			code: "23505",
		},
		"position inside a statement without a transaction": {
			files: []string{"1_a.sql", noTx + "create table a (id int);\nselect id,\n  nope\nfrom a;\n"},
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "up", Line: 4, Column: 3, State: pgmigrate.StatePartlyApplied,
				Statement: 2,
			},
			code: "42703",
		},
		"template": {
			files: []string{"1_a.sql", "select {{ .n }},\n  nope;\n"}, data: map[string]any{"n": "1,\n 2"},
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "up", State: pgmigrate.StateRolledBack, Database: 0,
			},
			code: "42703",
		},
		"at commit": {
			files: []string{
				"1_a.sql", good, "2_b.sql",
				"create table b (a int references a deferrable initially deferred);\ninsert into b values (7);\n",
			},
			want: pgmigrate.MigrationError{
				Version: 2, Name: "2_b.sql", Direction: "up",
				State: pgmigrate.StateRolledBack, Database: 1,
			},
			code: "23503",
		},
		"hint": {
			files: []string{
				"1_a.sql", "do $$ begin raise exception 'no' using hint = 'ask', detail = 'row 42'; end $$;\n",
			},
			want: pgmigrate.MigrationError{
				Version: 1, Name: "1_a.sql", Direction: "up", Line: 1, Column: 1,
				State: pgmigrate.StateRolledBack, Database: 0,
			},
			code:    "P0001",
			message: []string{"no (SQLSTATE P0001), hint: ask;"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := migrator(t, b, files(test.files...), pgmigrate.WithData(test.data))
			if _, err := m.To(t.Context(), test.from); err != nil {
				t.Fatal(err)
			}
			run := m.Up
			if test.down {
				run = m.Down
			}
			result, err := run(t.Context())
			var got *pgmigrate.MigrationError
			if !errors.As(err, &got) {
				t.Fatalf("%v is no MigrationError", err)
			}
			t.Log(err)
			if got.Version != test.want.Version || got.Name != test.want.Name || got.Direction != test.want.Direction ||
				got.Line != test.want.Line || got.Column != test.want.Column ||
				got.State != test.want.State || got.Statement != test.want.Statement ||
				got.Database != test.want.Database ||
				strings.Join(got.InvalidIndexes, " ") != strings.Join(test.want.InvalidIndexes, " ") {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
			var pgErr *pgconn.PgError
			if !errors.As(err, &pgErr) || pgErr.Code != test.code {
				t.Errorf("the cause is %v, want SQLSTATE %s", got.Err, test.code)
			}
			for _, part := range test.message {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in %q", part, err)
				}
			}
			if strings.Contains(err.Error(), "row 42") {
				t.Errorf("%q shows the detail, which quotes rows", err)
			}
			if result.To != test.want.Database {
				t.Errorf("the result ends at version %d, want %d", result.To, test.want.Database)
			}
		})
	}
}

// The server ends the session in the middle of a migration.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", "create table a (id int);", "2_b.sql",
		"create table b (id int);\nselect pg_terminate_backend(pg_backend_pid());\ncreate table c (id int);\n"))
	_, err := m.Up(t.Context())
	var got *pgmigrate.MigrationError
	if !errors.As(err, &got) || got.State != pgmigrate.StateUnknown || got.Database != 1 || got.Name != "2_b.sql" {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "connection is gone") || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("got %q", err)
	}
}

// The caller gives up in the middle of a migration: the server stops working on it, and the next
// run continues.
func TestContextEndsDuringMigration(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table wait (n int); insert into wait values (1)")
	folder := files("1_a.sql", "create table a (id int);", "2_b.sql",
		"create table b (id int);\nselect pg_sleep(n * 60) from wait;\n")
	ctx, cancel := context.WithCancel(t.Context())
	m := migrator(t, b, folder)
	done := make(chan error, 1)
	go func() { _, err := m.Up(ctx); done <- err }()
	for !ask[bool](t, b, "select exists (select from pg_stat_activity where datname = current_database() and "+
		"wait_event = 'PgSleep')") {
		select {
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		default:
		}
	}
	cancel()
	err := <-done
	var got *pgmigrate.MigrationError
	if !errors.As(err, &got) || !errors.Is(err, context.Canceled) || got.State != pgmigrate.StateUnknown ||
		got.Database != 1 {
		t.Fatalf("got %v", err)
	}
	t.Log(err)

	b.exec(t, "update wait set n = 0")
	r, err := migrator(t, b, folder).Up(t.Context())
	if err != nil || r.From != 1 || r.To != 2 || len(r.Steps) != 1 {
		t.Errorf("the next run: %+v, %v", r, err)
	}
}

// The caller gives up when a migration has just been committed: it must not be reported as failed.
func TestContextEndsBetweenMigrations(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := migrator(t, b, three(), pgmigrate.WithProgress(func(e pgmigrate.Event) {
		if e.Kind == pgmigrate.EventDone {
			cancel()
		}
	})).Up(ctx)
	var failed *pgmigrate.MigrationError
	if !errors.Is(err, context.Canceled) || errors.As(err, &failed) {
		t.Errorf("got %v", err)
	}
	if r.To != 1 || len(r.Steps) != 1 || r.Steps[0].Name != "001_pages.sql" {
		t.Errorf("got %+v", r)
	}
	if v := ask[int](t, b, "select version from schema_version"); v != 1 {
		t.Errorf("version %d, want 1", v)
	}
}

// Sections that end unlike others.
func TestOddSections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files(
		"1_a.sql", "explain select 1",
		"2_b.sql", "---- tern: disable-tx ----\n{{ \"select 1;\\n\\n\" }}",
		"3_c.sql", "---- tern: disable-tx ----\nselect 1;\n-- the end",
		"4_d.sql", "---- tern: disable-tx ----\nbegin;\ncreate table d ();\ncommit;\n",
		"5_e.sql", "select 'not closed\n', 1 -- no semicolon",
	))
	r, err := m.Up(t.Context())
	if err != nil || r.To != 5 || len(r.Steps) != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, s := range r.Steps {
		if s.Version != int32(i+1) || s.Tries != 1 {
			t.Errorf("step %d: %+v", i, s)
		}
	}
}

// The server quotes the word at which it stumbles.
func TestPasswordInSyntaxError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, sql := range []string{
		"alter role app password s3cret", "create user app login encrypted password s3cret valid until 'x'",
		"alter role app password 'a's3cret'b'", "create subscription s connection 'host=h s3cret' publication p",
		"do $$ begin execute 'alter role app password s3cret'; end $$",
		"create user mapping for app server s options (password s3cret)",
	} {
		for _, marker := range []string{"", disableTx} {
			_, err := migrator(t, b, files("1_a.sql", marker+"select 1;\n"+sql+";")).Up(t.Context())
			var failed *pgmigrate.MigrationError
			if !errors.As(err, &failed) || strings.Contains(err.Error(), "s3cret") ||
				strings.Contains(fmt.Sprintf("%+v", failed.Err), "s3cret") || failed.Line == 0 {
				t.Errorf("%s: got %v", sql, err)
			}
			b.exec(t, "drop schema if exists pgmigrate cascade")
		}
	}
	if _, err := migrator(t, b, files("1_a.sql", "select 1")).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := migrator(t, b, files("1_a.sql", "select 1")).Seed(t.Context(), files("1.sql", "alter role app password s3cret"), "")
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("seed: got %v", err)
	}
}
