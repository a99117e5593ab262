package pgmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate"
)

// Each test of this file proves a row of the README's table about tern alone, as TestAvailability
// does. If one fails after an update of tern, change the README.

// ternUp migrates with tern alone, on a connection of its own.
func ternUp(ctx context.Context, cfg *pgx.ConnConfig, fsys fs.FS) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		conn.Close(ctx)
		<-conn.PgConn().CleanupDone()
	}()
	m, err := migrate.NewMigrator(ctx, conn, pgmigrate.DefaultVersionTable)
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(fsys); err != nil {
		return err
	}
	return m.Migrate(ctx)
}

func TestTernTenAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fsys := three()
	if err := ternUp(t.Context(), b.config, firstTwo()); err != nil {
		t.Fatal(err)
	}
	// All of them wait for tern's lock before the first gets it.
	b.exec(t, fmt.Sprintf("select pg_advisory_lock(%d)", ternLock))
	errs := make([]error, 10)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = ternUp(t.Context(), b.config, fsys) })
	}
	for deadline := time.Now().Add(20 * time.Second); ask[int](t, b,
		"select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from "+
			"pg_database where datname = current_database())") < len(errs); {
		if time.Now().After(deadline) {
			t.Fatal("they never all wait")
		}
	}
	b.exec(t, "select pg_advisory_unlock_all()")
	wg.Wait()
	failed, deadlocks := 0, 0
	for _, err := range errs {
		if err != nil {
			failed++
		}
		if pgerr.Of(err) == pgerr.Deadlock {
			deadlocks++
		}
	}
	// Whose deadlock is found first decides: those that wait, each by itself, or the one that
	// builds, and then all fail.
	if failed <= len(errs)/2 || deadlocks == 0 {
		t.Errorf("%d failed, %d of them by deadlock: %v", failed, deadlocks, errs)
	}
}

func TestTernDatabaseAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := ternUp(t.Context(), b.config, three()); err != nil {
		t.Fatal(err)
	}
	var bad migrate.BadVersionError
	if err := ternUp(t.Context(), b.config, firstTwo()); !errors.As(err, &bad) {
		t.Errorf("got %v, want tern's refusal", err)
	}
}

// After a client was killed, the server ends pgmigrate's statement and releases its lock, but not
// tern's.
func TestTernClientGone(t *testing.T) {
	t.Parallel()
	fsys := files("1_a.sql", "select pg_sleep(600);")
	const busy = `select count(*) from pg_stat_activity where datname = current_database()
		and query like '%pg_sleep(600)%'
  and state = 'active' and pid <> pg_backend_pid()`
	cut := func(up func(*bench) error) *bench {
		b := setup(t)
		var mu sync.Mutex
		var conns []net.Conn
		gone := false
		client := *b
		client.config = b.config.Copy()
		dial := client.config.DialFunc
		client.config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if gone { // no request to cancel either
				return nil, net.ErrClosed
			}
			conn, err := dial(ctx, network, address)
			conns = append(conns, conn)
			return conn, err
		}
		done := make(chan error, 1)
		go func() { done <- up(&client) }()
		for ask[int](t, b, busy) == 0 {
			select {
			case err := <-done:
				t.Fatalf("ended early: %v", err)
			default:
			}
		}
		mu.Lock()
		gone = true
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		if err := <-done; err == nil {
			t.Error("a run without its connection succeeds")
		}
		return b
	}
	tern := cut(func(b *bench) error {
		b.config.RuntimeParams["client_connection_check_interval"] = "0" // PostgreSQL's default, not the test server's
		return ternUp(t.Context(), b.config, fsys)
	})
	ours := cut(func(b *bench) error { _, err := migrator(t, b, fsys).Up(t.Context()); return err })
	for deadline := time.Now().Add(20 * time.Second); ask[int](t, ours, busy) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the statement of pgmigrate goes on")
		}
	}
	if ask[int](t, tern, busy) != 1 || ask[bool](t, tern, "select pg_try_advisory_lock($1)", ternLock) {
		t.Error("tern's statement has ended, or its lock is free")
	}
}

func TestTernRecordsNoFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fsys := files("1_a.sql", "create table a (id int);", "2_b.sql", noTx+"insert into a values (1);\nselect 1/0;\n")
	for range 2 {
		if err := ternUp(t.Context(), b.config, fsys); err == nil {
			t.Fatal("the second migration divides by zero")
		}
	}
	if n := ask[int](t, b, "select count(*) from a"); n != 2 {
		t.Errorf("%d rows, want 2: tern repeats what was done", n)
	}
	if v := ask[int](t, b, "select version from schema_version"); v != 1 {
		t.Errorf("version %d, want 1", v)
	}
	if n := ask[int](t, b, "select count(*) from pg_tables where schemaname not in ('pg_catalog', "+
		"'information_schema')"); n != 2 {
		t.Errorf("%d tables, want the migration's and the version table", n)
	}
}

func TestTernKeepsNoHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := ternUp(t.Context(), b.config, older(t)); err != nil {
		t.Fatal(err)
	}
	edited := files("001_pages.sql", "create table other (id int);\n", "002_b.sql", "select 1;\n")
	if err := ternUp(t.Context(), b.config, edited); err != nil {
		t.Errorf("tern has noticed the edit: %v", err)
	}
	if columns := ask[string](t, b,
		"select string_agg(column_name, ', ') from information_schema.columns where table_name = "+
			"'schema_version'"); columns != "version" {
		t.Errorf("tern records %s", columns)
	}
}

func TestTernTakesInvalidIndex(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table a (id int); insert into a values (1), (1)")
	fsys := files("1_a.sql", noTx+"create unique index concurrently if not exists a_id on a (id);")
	if err := ternUp(t.Context(), b.config, fsys); err == nil {
		t.Fatal("the build should have failed")
	}
	b.exec(t, "truncate a")
	if err := ternUp(t.Context(), b.config, fsys); err != nil {
		t.Fatal(err)
	}
	if ask[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_id'::regclass") {
		t.Error("the index is valid")
	}
}

func TestTernFolder(t *testing.T) {
	t.Parallel()
	load := func(fsys fs.FS) (panicked bool, err error) {
		defer func() { panicked = recover() != nil }()
		m, err := migrate.NewMigrator(t.Context(), nil, pgmigrate.DefaultVersionTable)
		if err != nil {
			t.Fatal(err)
		}
		return false, m.LoadMigrations(fsys)
	}
	for name, test := range map[string]struct {
		fsys     fs.FS
		panicked bool
		err      string
	}{
		"zero":           {files("0000_x.sql", "select 1;"), true, ""},
		"gap":            {files("1_a.sql", "select 1;", "3_c.sql", "select 1;"), false, "Missing migration 2"},
		"empty":          {files("1_a.sql", "-- later\n"), false, "no sql in forward migration step"},
		"bom":            {files("1_a.sql", "\ufeffselect 1;"), false, ""},
		"crlf in marker": {files("1_a.sql", "---- tern: disable-tx ----\r\nselect 1;\r\n"), false, ""},
	} {
		panicked, err := load(test.fsys)
		if panicked != test.panicked || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: panicked %t, %v", name, panicked, err)
		}
	}
}

func TestTernError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := ternUp(t.Context(), b.config, files("1_a.sql", "select 1;\nselect nothing;\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "1_a.sql: ERROR: ") ||
		!strings.HasSuffix(err.Error(), "(SQLSTATE 42703)") {
		t.Errorf("got %v", err)
	}
}
