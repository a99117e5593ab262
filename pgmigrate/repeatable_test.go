package pgmigrate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestRepeatable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	views := func(column string) []string {
		return []string{
			"10_titles.sql", "create or replace view titles as select title as a from pages;",
			"20_upper.sql", "drop view if exists upper_titles;\ncreate view upper_titles as select upper(a) as " + column +
				" from titles;\nset role pg_monitor; set search_path = pg_catalog;",
			"notes.txt", "no SQL", "00_empty.sql", "-- nothing",
		}
	}
	up := func(fsys []string) (*pgmigrate.Migrator, string) {
		m := migrator(t, b, three(), pgmigrate.WithRepeatable(files(fsys...)))
		r, err := m.Up(t.Context())
		return m, fmt.Sprintf("%d %v %v", len(r.Steps), r.Repeated, err)
	}
	m, got := up(views("one"))
	if want := "3 [repeatable/00_empty.sql repeatable/10_titles.sql repeatable/20_upper.sql] <nil>"; got != want {
		t.Errorf("first: got %s, want %s", got, want)
	}
	if _, got := up(views("one")); got != "0 [] <nil>" {
		t.Errorf("unchanged: got %s", got)
	}
	p, err := migrator(t, b, three(), pgmigrate.WithRepeatable(files(views("two")...))).Plan(t.Context())
	if err != nil || len(p.Repeatable) != 1 || p.Repeatable[0].Name != "repeatable/20_upper.sql" {
		t.Errorf("plan: %+v, %v", p, err)
	}
	other, got := up(views("two"))
	if got != "0 [repeatable/20_upper.sql] <nil>" || m.Checksum() == other.Checksum() {
		t.Errorf("changed: got %s", got)
	}
	if _, got := up(views("one")); got != "0 [repeatable/20_upper.sql] <nil>" {
		t.Errorf("changed back: got %s", got)
	}
	s, err := m.Status(t.Context())
	if err != nil || len(s.Repeatable) != 3 || !s.Repeatable[2].Applied {
		t.Errorf("status: %+v, %v", s.Repeatable, err)
	}

	// One transaction: the first one is rolled back with the second.
	bad := views("three")
	bad[1] += "\ncomment on view titles is 'changed';"
	bad[3] += "\nselect 1 from nowhere;"
	_, err = migrator(t, b, three(), pgmigrate.WithRepeatable(files(bad...))).Up(t.Context())
	var failed *pgmigrate.MigrationError
	if !errors.As(err, &failed) || failed.Name != "repeatable/20_upper.sql" || failed.Line != 4 ||
		failed.Column != 15 || failed.State != pgmigrate.StateRolledBack {
		t.Errorf("got %v", err)
	}
	if ask[bool](t, b, "select obj_description('titles'::regclass) is not null") {
		t.Error("a part of it was committed")
	}

	// What is rolled back may take them along.
	b.exec(t, "drop view upper_titles; drop view titles")
	if _, err := m.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, got := up(views("one")); got != "1 [repeatable/00_empty.sql repeatable/10_titles.sql "+
		"repeatable/20_upper.sql] <nil>" {
		t.Errorf("after down: got %s", got)
	}
	// Not by an older folder.
	older := migrator(t, b, firstTwo(), pgmigrate.WithRepeatable(files(views("older")...)))
	if r, err := older.Up(t.Context()); err != nil || len(r.Repeated) != 0 {
		t.Errorf("ahead: %+v, %v", r, err)
	}
}

// They wait for locks as migrations do.
func TestRepeatableIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx, err := b.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table pages"); err != nil {
		t.Fatal(err)
	}
	m := migrator(t, b, three(), pgmigrate.WithLockTimeout(time.Millisecond),
		pgmigrate.WithRepeatable(files("1.sql", "create view v as select 1 as one; alter table pages add x int;")),
		pgmigrate.WithProgress(func(e pgmigrate.Event) {
			if e.Kind == pgmigrate.EventRetry {
				_ = tx.Rollback(t.Context())
			}
		}))
	if r, err := m.Up(t.Context()); err != nil || len(r.Repeated) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBadRepeatable(t *testing.T) {
	t.Parallel()
	_, err := pgmigrate.New(&pgx.ConnConfig{}, three(), pgmigrate.WithRepeatable(files("1.sql", "select 1;\ncommit;")))
	var folder *pgmigrate.FolderError
	if !errors.As(err, &folder) || folder.Problems[0].File != "repeatable/1.sql" || folder.Problems[0].Line != 2 {
		t.Errorf("got %v", err)
	}
}

// A check stops a migration before anything ran, with and without a transaction.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, marker := range []string{"", "---- tern: disable-tx ----\n"} {
		t.Run(marker, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			m := migrator(t, b, files(
				"1_a.sql", "create table a (id int, name text);\ninsert into a select n, repeat('x', 200 * (n % 2)) "+
					"from generate_series(1, 5) n;\n",
				"2_b.sql", marker+"create table b (id int);\n-- why\n-- pgmigrate:check no name is empty; 'it''s' so\n"+
					"select id, name from a where name = '' or id > 2 order by id;\ncreate table c (id int);\n",
			))
			_, err := m.Up(t.Context())
			var failed *pgmigrate.MigrationError
			var check *pgmigrate.CheckError
			if !errors.As(err, &failed) || !errors.As(err, &check) {
				t.Fatalf("got %v", err)
			}
			if line := 4 + strings.Count(marker, "\n"); failed.Line != line || failed.Statement != 0 {
				t.Errorf("line %d, statement %d", failed.Line, failed.Statement)
			}
			want := `the check "no name is empty; 'it''s' so" has found rows: id = 2, name = ; id = 3, name = ` +
				strings.Repeat("x", 100) + `…; id = 4, name = ; and more`
			if check.Error() != want {
				t.Errorf("got %s\nwant %s", check, want)
			}
			if ask[bool](t, b, "select to_regclass('b') is not null") {
				t.Error("something ran before the check")
			}
			b.exec(t, "delete from a where id > 1")
			if r, err := m.Up(t.Context()); err != nil || r.To != 2 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestBadChecks(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"-- pgmigrate:check\nselect 1;":                         "1_a.sql:1: the check has no message",
		"select 1;\n-- pgmigrate:check m\n":                     "1_a.sql:2: the check has no query",
		"select 1;\n--pgmigrate:check m\ndelete from a;":        "1_a.sql:2: the check has no query",
		"select 1;\n\n-- pgmigrate:chekc m\nselect 1":           "1_a.sql:3: the directive pgmigrate:chekc is unknown",
		"select '\n-- pgmigrate:check\n';/*\n-- pgmigrate:x */": "",
		"-- pgmigrate:check m\nselect 1 where false":            "",
		"-- pgmigrate:check m\n-- pgmigrate:check n\nselect 1;": "1_a.sql:2: the query below has two checks",
	} {
		_, err := pgmigrate.Check(files("1_a.sql", sql), pgmigrate.WithStrict())
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", sql, err, want)
		}
	}
	b := setup(t)
	_, err := migrator(t, b, files("1_a.sql", "-- pgmigrate:check m\nselect ü, nope from pg_class")).Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1_a.sql:2:8: ") {
		t.Errorf("got %v", err)
	}
	_, err = migrator(t, b, files("1_a.sql", "-- pgmigrate:check m\nselect E'a\\x1b[2J\\nb' as x")).Up(t.Context())
	if err == nil || !strings.Contains(err.Error(), "x = a [2J b;") {
		t.Errorf("got %q", err)
	}
}
