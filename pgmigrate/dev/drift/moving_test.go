package drift_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/drift"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

func connect(t *testing.T, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// waitFor asks the server until it says yes.
func waitFor(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) { // polls
		var yes bool
		if err := conn.QueryRow(t.Context(), sql).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", sql)
		}
	}
}

// Between two versions there is nothing to compare with: while a migration runs, and when it was
// interrupted.
func TestBetweenVersions(t *testing.T) {
	t.Parallel()
	blocked := fstest.MapFS{
		"001_a.sql": folder["001_a.sql"], "002_wait.sql": &fstest.MapFile{
			Data: []byte("---- tern: disable-tx ----\nselect pg_advisory_lock(42);\n"),
		},
	}
	live := migrated(t, 1, "")
	holder := connect(t, live)
	if _, err := holder.Exec(t.Context(), "select pg_advisory_lock(42)"); err != nil {
		t.Fatal(err)
	}
	m, err := pgmigrate.New(live, blocked, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := m.Up(ctx)
		done <- err
	}()
	waitFor(t, holder, "select exists (select from pg_locks where locktype = 'advisory' and not granted and "+
		"database = (select oid from pg_database where datname = current_database()))")
	if _, err := drift.Check(t.Context(), live, blocked, drift.Options{}); err == nil || !strings.Contains(err.Error(),
		"002_wait.sql is being applied at the moment") {
		t.Errorf("while it runs: %v", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("the migration was not interrupted")
	}
	if _, err := drift.Check(t.Context(), live, blocked, drift.Options{}); err == nil || !strings.Contains(err.Error(),
		"002_wait.sql was interrupted") {
		t.Errorf("when it was interrupted: %v", err)
	}
}

// Somebody migrates the live database while its shadow is made: what was compared then is of two
// versions.
func TestMigratedMeanwhile(t *testing.T) {
	t.Parallel()
	live := migrated(t, 1, "")
	// On a shadow the first migration waits until somebody connects under this name.
	signal := "drift_test_" + live.Database
	waiting := fstest.MapFS{
		"002_b.sql": folder["002_b.sql"],
		"001_a.sql": &fstest.MapFile{Data: fmt.Appendf(nil, `create table a (i int);
		do $$ begin
			while current_database() like 'pgmigrate_shadow%%' and not exists (select from pg_stat_activity
				where application_name = '%s') loop
				perform pg_sleep(0.01), pg_stat_clear_snapshot();
			end loop;
		end $$;`, signal)},
	}
	done := make(chan error, 1)
	go func() {
		_, err := drift.Check(t.Context(), live, waiting,
			drift.Options{
				Shadow: shadow.Options{URL: strings.Replace(live.ConnString(), "/"+live.Database+"?", "/postgres?", 1)},
			})
		done <- err
	}()
	conn := connect(t, live)
	waitFor(t, conn, fmt.Sprintf(`select exists (select from pg_stat_activity
		where datname like 'pgmigrate\_shadow\_%%' and query like '%%%s%%')`, signal))
	m, err := pgmigrate.New(live, folder, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	goOn := live.Copy()
	goOn.RuntimeParams["application_name"] = signal
	connect(t, goOn)
	if err := <-done; err == nil || !strings.Contains(err.Error(),
		"migrated in the meantime, from version 1 to 2: try again") {
		t.Errorf("got %v", err)
	}
}

// An edited file is compared as it is now, and that is said; so is what cannot be compared at all.
func TestFolderAndAddresses(t *testing.T) {
	t.Parallel()
	live := migrated(t, 2, "")
	edited := fstest.MapFS{
		"001_a.sql": folder["001_a.sql"], "002_b.sql": &fstest.MapFile{
			Data: []byte("create table b (i int); -- edited\n"),
		},
	}
	report, err := drift.Check(t.Context(), live, edited, drift.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Drifted() || len(report.Notes) != 1 || !strings.Contains(report.Notes[0],
		"002_b.sql was edited after it was applied") {
		t.Errorf("edited: %v", report.Notes)
	}

	nobody := live.Copy()
	nobody.Host, nobody.Password, nobody.Fallbacks = t.TempDir(), "hunter2", nil
	tests := map[string]struct {
		live   *pgx.ConnConfig
		folder fstest.MapFS
		opts   drift.Options
		want   string
	}{
		"a gap in the folder": {live, fstest.MapFS{"002_b.sql": folder["002_b.sql"]}, drift.Options{}, "002_b.sql"},
		"nobody listens":      {nobody, folder, drift.Options{}, "no such file"},
		"no such shadow server": {
			live, folder, drift.Options{Shadow: shadow.Options{URL: "postgres://me:hunter2@/postgres?host=" +
				t.TempDir()}}, "drift: shadow database: connect",
		},
		"it does not run anymore": {
			live, fstest.MapFS{
				"001_a.sql": folder["001_a.sql"], "002_b.sql": &fstest.MapFile{Data: []byte("create table a (i int);")},
			}, drift.Options{}, `relation "a" already exists`,
		},
		"a table of its own": {
			live, folder, drift.Options{VersionTable: "public.versions", HistorySchema: "other"}, "no version table",
		},
	}
	for name, test := range tests {
		_, err := drift.Check(t.Context(), test.live, test.folder, test.opts)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
