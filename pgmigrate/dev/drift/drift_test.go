package drift_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var folder = fstest.MapFS{
	"001_a.sql": &fstest.MapFile{
		Data: []byte("create table a (i int);\n---- create above / drop below ----\ndrop table a;\n"),
	},
	"002_b.sql": &fstest.MapFile{
		Data: []byte("create table b (i int);\n---- create above / drop below ----\ndrop table b;\n"),
	},
}

// migrated returns a database at version, after sql was run on it by hand.
func migrated(t *testing.T, version int32, sql string) *pgx.ConnConfig {
	t.Helper()
	return migratedFrom(t, folder, version, sql)
}

func migratedFrom(t *testing.T, folder fs.FS, version int32, sql string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal("parse the test database's address")
	}
	m, err := pgmigrate.New(cfg, folder, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if version > 0 {
		if _, err := m.To(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestPendingIsNoDrift(t *testing.T) {
	t.Parallel()
	report, err := drift.Check(t.Context(), migrated(t, 1, ""), folder, drift.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Drifted() || report.Version != 1 || len(report.Notes) != 1 ||
		!strings.Contains(report.Notes[0], "1 more") {
		t.Errorf("%+v", report)
	}
}

// What a repeatable migration makes is no drift, and what somebody has changed of it is.
func TestRepeatableIsNoDrift(t *testing.T) {
	t.Parallel()
	views := fstest.MapFS{"v.sql": &fstest.MapFile{Data: []byte("create or replace view v as select i from b;")}}
	cfg := migrated(t, 1, "")
	m, err := pgmigrate.New(cfg, folder, pgmigrate.WithLogger(nil), pgmigrate.WithRepeatable(views))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true} {
		report, err := drift.Check(t.Context(), cfg, folder, drift.Options{Repeatable: views})
		if err != nil || report.Drifted() != want {
			t.Fatalf("drifted, want %t: %+v, %v", want, report, err)
		}
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "create or replace view v as select i + 1 as i from b"); err != nil {
			t.Fatal(err)
		}
		conn.Close(context.Background())
	}
}

func TestNotComparable(t *testing.T) {
	t.Parallel()
	if _, err := drift.Check(t.Context(), migrated(t, 0, ""), folder, drift.Options{}); !errors.Is(err,
		drift.ErrNotMigrated) {
		t.Errorf("never migrated: %v", err)
	}
	ahead := migrated(t, 2, "update schema_version set version = 7")
	if _, err := drift.Check(t.Context(), ahead, folder, drift.Options{}); err == nil ||
		!strings.Contains(err.Error(), "at version 7") {
		t.Errorf("ahead: %v", err)
	}
}

// The check must not be able to change the database that it is about: it works in sessions that
// cannot.
func TestReadOnlyRole(t *testing.T) {
	t.Parallel()
	live := migrated(t, 2, `do $$ begin create role drift_test_reader login; exception
		when duplicate_object then null; end $$;
		grant pg_read_all_data to drift_test_reader; grant usage on schema pgmigrate to drift_test_reader;
			create index by_hand on a (i)`)
	live.User = "drift_test_reader"
	report, err := drift.Check(t.Context(), live, folder, drift.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\nDROP INDEX CONCURRENTLY public.by_hand;") {
		t.Error(text.String())
	}
}
