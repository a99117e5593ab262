package shadow_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

const orphanMaker = "SHADOW_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if url, ok := os.LookupEnv(orphanMaker); ok {
		os.Exit(makeOrphan(url))
	}
	goleak.VerifyTestMain(m)
}

// makeOrphan opens a shadow, says its name, and waits to be killed.
func makeOrphan(url string) int {
	db, err := shadow.Open(context.Background(), shadow.Options{URL: url})
	if err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString(db.Name() + "\n")
	select {}
}

func folder(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func open(t *testing.T, opts shadow.Options) *shadow.DB {
	t.Helper()
	db, err := shadow.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func ask[T any](t *testing.T, cfg *pgx.ConnConfig, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func config(t *testing.T, url string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("parse the address")
	}
	return cfg
}

var twoTables = folder("001_a.sql", "create table a (id int)", "002_b.sql", "create table b (id int)")

func TestOpenAppliesMigrations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		opts    shadow.Options
		a, b    bool
		version int
	}{
		{"none", shadow.Options{}, false, false, 0},
		{"all", shadow.Options{Migrations: twoTables}, true, true, 2},
		{"one", shadow.Options{Migrations: twoTables, Version: 1}, true, false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := open(t, c.opts)
			for table, want := range map[string]bool{"a": c.a, "b": c.b, "schema_version": c.version > 0} {
				if got := ask[bool](t, db.Config(), "select to_regclass($1) is not null", table); got != want {
					t.Errorf("table %s exists: %t, want %t", table, got, want)
				}
			}
		})
	}
}

func TestCloneIsIndependent(t *testing.T) {
	t.Parallel()
	db := open(t, shadow.Options{Migrations: twoTables, Version: 1})
	clone, err := db.Clone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := clone.Migrate(t.Context(), twoTables, 2); err != nil {
		t.Fatal(err)
	}
	if ask[bool](t, db.Config(), "select to_regclass('b') is not null") {
		t.Error("the clone's migration reached the original")
	}
	if !ask[bool](t, clone.Config(), "select to_regclass('a') is not null and to_regclass('b') is not null") {
		t.Error("the clone lacks a table")
	}
	if err := clone.Close(); err != nil {
		t.Fatal(err)
	}
	if ask[bool](t, db.Config(), "select exists (select from pg_database where datname = $1)", clone.Name()) {
		t.Error("the clone is there after Close")
	}
	if err := clone.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// A missing role is created on a throwaway server, and reported on a server that the user named.
func TestMissingRole(t *testing.T) {
	t.Parallel()
	grants := folder("001_a.sql",
		`create table a (id int); grant select on a to "Reader of ""a"""; grant select on a to shadow_test_writer`)
	db := open(t, shadow.Options{Migrations: grants})
	if !ask[bool](t, db.Config(), `select has_table_privilege('shadow_test_writer', 'a', 'select')`) {
		t.Error("the grant is missing")
	}
	if ask[bool](t, db.Config(), `select rolcanlogin from pg_roles where rolname = 'shadow_test_writer'`) {
		t.Error("the role may log in")
	}

	_, err := shadow.Open(t.Context(), shadow.Options{Migrations: grants, URL: pgserver.Database(t)})
	if err == nil || !strings.Contains(err.Error(), "create it on the shadow's server") {
		t.Errorf("a named server: %v", err)
	}
}

func TestExtensionsComeFirst(t *testing.T) {
	t.Parallel()
	uses := folder("001_a.sql", "create table a (c citext)")
	if _, err := shadow.Open(t.Context(), shadow.Options{Migrations: uses}); err == nil {
		t.Fatal("citext was there without being asked for")
	}
	open(t, shadow.Options{Migrations: uses, Extensions: []string{"citext"}})
}

func TestRefusesTheLiveDatabase(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	live := config(t, url)
	for name, address := range map[string]string{
		"the same address":  url,
		"written otherwise": "host=" + live.Host + "/. port=5432 user=" + live.User + " dbname=" + live.Database,
	} {
		for _, attrs := range []string{"any", "read-write"} {
			live := config(t, url+"&target_session_attrs="+attrs)
			_, err := shadow.Open(t.Context(), shadow.Options{URL: address, Live: live})
			if err == nil || !strings.Contains(err.Error(), "names the live database") {
				t.Errorf("%s, %s: %v", name, attrs, err)
			}
		}
	}
	// Another database of the live server is the user's choice.
	open(t, shadow.Options{URL: pgserver.Database(t), Live: live})
}

func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://me:hunter2@/x?host=" + t.TempDir(), // no socket is there
		"postgres://me:hunter2@127.0.0.1:notaport/x",
		"host=127.0.0.1 password=hunter2 port=nope",
	} {
		_, err := shadow.Open(t.Context(), shadow.Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

// A killed process leaves its database behind. The next Open on the server drops it, but not the
// database of a live process.
func TestSweepAfterKill(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	living := open(t, shadow.Options{URL: url})
	orphan, kill := startOrphan(t, url)

	open(t, shadow.Options{URL: url})
	if !ask[bool](t, config(t, url), "select exists (select from pg_database where datname = $1)", orphan) {
		t.Fatal("a living process's database was swept")
	}
	kill()
	// The server notices a dead client within moments, not at once.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		db, err := shadow.Open(t.Context(), shadow.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		there := ask[bool](t, config(t, url), "select exists (select from pg_database where datname = $1)", orphan)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the killed process's database is still there")
		}
	}
	if !ask[bool](t, living.Config(), "select true") {
		t.Error("the living shadow is gone")
	}
}

func startOrphan(t *testing.T, url string) (name string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanMaker+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the other process made no shadow")
	}
	return lines.Text(), kill
}

// A canceled context leaves no database behind.
func TestCancelled(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	blocked := folder("001_a.sql", "select pg_sleep(60)")
	done := make(chan error)
	go func() {
		_, err := shadow.Open(ctx, shadow.Options{URL: url, Migrations: blocked})
		done <- err
	}()
	running := `select coalesce(min(datname), '') from pg_stat_activity
		where datname like 'pgmigrate\_shadow\_%' and query like '%pg_sleep(60)%' and state = 'active'`
	name := ""
	for name == "" {
		name = ask[string](t, config(t, url), running)
	}
	cancel(errors.New("enough"))
	if err := <-done; err == nil {
		t.Fatal("no error")
	}
	if ask[bool](t, config(t, url), "select exists (select from pg_database where datname = $1)", name) {
		t.Error("the database is still there")
	}
}
