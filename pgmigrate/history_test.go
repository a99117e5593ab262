package pgmigrate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if entries, err := m.History(t.Context()); err != nil || len(entries) != 0 {
		t.Errorf("without a history: %v, %v", entries, err)
	}
	begin := time.Now().Add(-time.Second)
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.To(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	entries, err := m.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %s %s %d:%d", e.Name, e.Action, e.Progress, e.Statement, e.Line))
		if e.Duration <= 0 || e.Duration > time.Minute || e.StartedAt.Before(begin) ||
			e.StartedAt.After(time.Now().Add(time.Second)) {
			t.Errorf("times of %+v", e)
		}
		if e.Role != b.config.User || !strings.Contains(e.Client, "@") ||
			e.Checksum != m.Migrations()[e.Version-1].Checksum() {
			t.Errorf("got %+v", e)
		}
	}
	want := []string{
		"001_pages.sql up done 0:0", "002_title.sql up done 0:0", "003_index.sql up done 1:2",
		"003_index.sql down done 1:5", "002_title.sql down done 0:0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, second := s.Migrations[0], s.Migrations[1]
	if first.AppliedAt.IsZero() || first.Role != b.config.User || first.Duration <= 0 ||
		first.Recorded != first.Checksum() || first.Edited || first.Action != pgmigrate.ActionUp {
		t.Errorf("status of an applied migration: %+v", first)
	}
	if second.Applied || !second.AppliedAt.IsZero() {
		t.Errorf("status of a migration that was rolled back: %+v", second)
	}
}

// The entry is in the migration's transaction: a migration that fails at its very end has none.
func TestHistoryIsAtomic(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files("1_a.sql", "create table a (id int primary key) -- no semicolon, and a comment",
		"2_b.sql", "create table b (a int references a deferrable initially deferred);\ninsert into b values (7);\n"))
	if _, err := m.Up(t.Context()); err == nil {
		t.Fatal("the second migration violates a constraint at commit")
	}
	entries, err := m.History(t.Context())
	if err != nil || len(entries) != 1 || entries[0].Name != "1_a.sql" {
		t.Errorf("got %+v, %v", entries, err)
	}
}

// Whatever a section sets, its entry and the next ones are written.
func TestHistoryAfterSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, files(
		"1_a.sql", "set search_path = ''; set standard_conforming_strings = off; create table public.a ()",
		"2_it's.sql", "set local timezone = 'Asia/Tokyo'; select 1; /* the end */",
		"3_back\\slash.sql", "set standard_conforming_strings = off; select 1",
	))
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := m.History(t.Context())
	if err != nil || len(entries) != 3 || entries[1].Name != "2_it's.sql" || entries[2].Name != "3_back\\slash.sql" {
		t.Errorf("got %+v, %v", entries, err)
	}
}

// A database that tern itself has migrated needs no preparation.
func TestAdoptedFromTern(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tern, err := migrate.NewMigrator(t.Context(), b.conn, pgmigrate.DefaultVersionTable)
	if err != nil {
		t.Fatal(err)
	}
	if err := tern.LoadMigrations(three()); err != nil {
		t.Fatal(err)
	}
	if err := tern.MigrateTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	m := migrator(t, b, three())
	s, err := m.Status(t.Context())
	if err != nil || s.Version != 2 || !s.Migrations[1].Applied || !s.Migrations[1].AppliedAt.IsZero() {
		t.Errorf("status: %+v, %v", s, err)
	}
	if p, err := m.Plan(t.Context()); err != nil || len(p.Steps) != 1 {
		t.Errorf("plan: %+v, %v", p, err)
	}
	if ask[bool](t, b, "select to_regnamespace('pgmigrate') is not null") {
		t.Error("status or plan have created the history")
	}
	if r, err := m.Up(t.Context()); err != nil || r.From != 2 || r.To != 3 {
		t.Errorf("up: %+v, %v", r, err)
	}
	if entries, err := m.History(t.Context()); err != nil || len(entries) != 1 || entries[0].Version != 3 {
		t.Errorf("history: %+v, %v", entries, err)
	}
	if r, err := m.To(t.Context(), 0); err != nil || r.To != 0 {
		t.Errorf("down: %+v, %v", r, err)
	}
}

// A role that may read the version and not the history is told the version.
func TestHistoryNotReadable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := fmt.Sprintf("reader_%d", b.conn.PgConn().PID())
	b.exec(t, "create role "+reader+" login; grant select on schema_version to "+reader)
	t.Cleanup(func() { b.conn.Exec(context.WithoutCancel(t.Context()), "drop owned by "+reader+"; drop role "+reader) })
	reading := *b
	reading.config = b.config.Copy()
	// Not as the login, which would need a password on some servers.
	reading.config.RuntimeParams["role"] = reader
	m := migrator(t, &reading, three())
	if s, err := m.Status(t.Context()); err != nil || s.Version != 3 || s.Dirty != nil {
		t.Errorf("status: %+v, %v", s, err)
	}
	if r, err := m.Up(t.Context()); err != nil || len(r.Steps) != 0 {
		t.Errorf("up: %+v, %v", r, err)
	}
	if _, err := m.History(t.Context()); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("history: %v", err)
	}
}

// A role that may not create schemas can be given one.
func TestHistorySchemaOfAnAdministrator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := fmt.Sprintf("migrator_%d", b.conn.PgConn().PID())
	b.exec(t, "create role "+role+"; grant create on schema public to "+role)
	t.Cleanup(func() { b.conn.Exec(context.WithoutCancel(t.Context()), "drop owned by "+role+"; drop role "+role) })
	given := *b
	given.config = b.config.Copy()
	given.config.RuntimeParams["role"] = role
	m := migrator(t, &given, three(), pgmigrate.WithHistorySchema("audit"))
	if _, err := m.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "create history schema audit") {
		t.Fatalf("without the schema: %v", err)
	}
	b.exec(t, "create schema audit authorization "+role)
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask[int](t, b, "select count(*) from audit.history"); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}
