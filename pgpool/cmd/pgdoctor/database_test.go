package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func connectTo(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func check(t *testing.T, report databaseReport, name string) finding {
	t.Helper()
	for _, f := range report.Checks {
		if f.Check == name {
			return f
		}
	}
	t.Fatalf("there is no check %q", name)
	return finding{}
}

// Each check finds its problem and says where it is.
func TestDatabaseWithProblems(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{Settings: map[string]string{
		"shared_preload_libraries": "pg_stat_statements", "wal_level": "logical", "autovacuum": "off",
	}})
	conn := connectTo(t, server.URL())
	for _, sql := range []string{
		`create extension pg_stat_statements`,
		`create table authors (id int primary key)`,
		`create table pages (id int primary key, author int references authors, editor int references authors,
			body text)`,
		`insert into authors values (1)`,
		`insert into pages select n, 1, 1, repeat('x', 100) from generate_series(1, 60000) n`,
		`create index pages_editor on pages (editor, id)`,
		`create index pages_body on pages (body)`, `create index pages_body_again on pages (body)`,
		`create table broken (id int)`, `insert into broken values (1), (1)`,
		`create sequence low as int`, `select setval('low', 1700000000)`,
		`create table narrow (id int generated always as identity)`,
		`create table wide (id int)`, `create sequence wide_id as bigint owned by wide.id`,
		`select setval('wide_id', 2147000000)`,
		`create table left_alone (id int) with (autovacuum_enabled = 0)`,
		`create table holes (id int, body text)`,
		`insert into holes select n, repeat('x', 300) from generate_series(1, 60000) n`,
		`delete from holes where id % 4 > 0`, `vacuum analyze holes`,
		"create index \"pages_\x1b[31mred\" on pages (id, author)",
		"create index \"pages_\x1b[31mred_again\" on pages (id, author)",
		`create index pages_lower on pages (lower(body))`, `create index pages_lower_again on pages (lower(body))`,
		`create table parts (id int, author int references authors) partition by range (id)`,
		`create table parts_1 partition of parts for values from (0) to (100000)`,
		`insert into parts select n, 1 from generate_series(1, 60000) n`,
		`delete from pages where id > 30000`,
		`select pg_create_logical_replication_slot('nobody', 'pgoutput')`,
		`create role app password 'hunter2'`, `do $$ begin perform pg_sleep(2), 'hunter2'; end $$`,
	} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeExec); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := conn.Exec(t.Context(), `create unique index concurrently broken_id on broken (id)`,
		pgx.QueryExecModeExec); err == nil {
		t.Fatal("a unique index on equal values")
	}
	idle := connectTo(t, server.URL())
	if _, err := idle.Exec(t.Context(), `begin; select 1`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}

	// A session reports its statistics when it ends, at the latest.
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, `do $$ begin while not exists (select from pg_stat_user_tables where n_dead_tup >= 30000) loop
		perform pg_sleep(0.01), pg_stat_clear_snapshot(); end loop; end $$`)

	environ := map[string]string{"DATABASE_URL": server.URL()}
	code, output := examine(t, environ, "database", "--json")
	var report databaseReport
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		t.Fatalf("%v in:\n%s", err, output)
	}
	if code != wrong {
		t.Errorf("code %d, want %d", code, wrong)
	}
	for _, want := range []struct {
		name    string
		verdict verdict
		detail  string
	}{
		{"bloat", warn, "holes: about 1"},
		{"autovacuum", bad, "table left_alone"},
		{"duplicates", warn, "pages_lower_again and pages_lower on pages"},
		{"foreign keys", warn, "parts_author_fkey on parts (author)"},
		{"connections", ok, ""},
		{"transactions", ok, ""}, // idle for less than a minute
		{"slots", bad, "nobody: no consumer"},
		{"wraparound", ok, ""},
		{"sequences", bad, "public.wide_id: 100.0 % of 2147483647"},
		{"autovacuum", bad, "autovacuum = off"},
		{"bloat", warn, "pages: 30000 of 60000 rows are dead"},
		{"invalid", bad, "broken_id on broken"},
		{"duplicates", warn, "pages_body_again and pages_body on pages"},
		{"foreign keys", warn, "pages_author_fkey on pages (author)"},
		{"unused", warn, "pages_editor on pages"},
		{"statements", ok, "do '…'"},
	} {
		f := check(t, report, want.name)
		details := strings.Join(f.Details, "\n")
		if f.Verdict != want.verdict || !strings.Contains(details, want.detail) {
			t.Errorf("%s is %+v, want %s with %q", want.name, f, want.verdict, want.detail)
		}
		if (f.Verdict == warn || f.Verdict == bad) != (f.Hint != "") {
			t.Errorf("%s is %s with the hint %q", want.name, f.Verdict, f.Hint)
		}
		if strings.Contains(details, "hunter2") || strings.Contains(details, "pages_editor_fkey") {
			t.Errorf("%s says too much: %s", want.name, details)
		}
	}
	_, output = examine(t, environ, "database")
	contains(t, output, "WRONG slots 1 without a consumer or far behind", "→ start the consumer",
		"WRONG invalid 1 invalid broken_id on broken", "ok wraparound")
	if strings.Contains(output, "\x1b") {
		t.Error("colors without a terminal, or a name that controls it")
	}
	if lines := strings.Count(output, "\n"); lines > 60 {
		t.Errorf("%d lines are no screen:\n%s", lines, output)
	}
}

func TestDatabaseWithoutProblems(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{Settings: map[string]string{"autovacuum": "on"}})
	code, output := examine(t, map[string]string{"DATABASE_URL": server.URL()}, "database")
	if code != fine {
		t.Errorf("code %d, want %d", code, fine)
	}
	contains(t, output, "ok connections", "ok foreign keys all of large tables have an index",
		"? statements pg_stat_statements is not there", "no problems, no warnings")
}

// What a role may not see is unknown, not ok.
func TestDatabaseAsAnOrdinaryRole(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	server.Exec(t, `create role plain login`, `create sequence hidden`)
	idle := connectTo(t, server.URL())
	if _, err := idle.Exec(t.Context(), `begin; select 1`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"DATABASE_URL": strings.Replace(server.URL(), "postgres@", "plain@", 1)}
	_, output := examine(t, environ, "database")
	contains(t, output, "ok connections 2 of", "? transactions this role may not see 1 sessions of other roles",
		"? sequences this role may not see 1 sequences: GRANT pg_monitor")
}

func TestDatabaseThatIsNotThere(t *testing.T) {
	t.Parallel()
	code, output := examine(t, map[string]string{"DATABASE_URL": "postgres://app@127.0.0.1:1/app"}, "database")
	if code != notReached || !strings.Contains(output, "check that PostgreSQL runs") {
		t.Errorf("code %d, want %d:\n%s", code, notReached, output)
	}
	for _, args := range [][]string{{"database", "more"}, {"--json"}, {"database", "--instances", "2"}} {
		if code, _ := examine(t, map[string]string{}, args...); code != unusable {
			t.Errorf("code %d for %q, want %d", code, args, unusable)
		}
	}
}
