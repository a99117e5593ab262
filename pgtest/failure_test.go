package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// What is missing or wrong before a database can be made fails the test with one sentence about it.
func TestNothingToFillWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "1_a.sql"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts []pgtest.Option
		want string
	}{
		"no folder": {
			[]pgtest.Option{pgtest.Migrations(os.DirFS(filepath.Join(dir, "none")))}, "no such file or directory",
		},
		"a seed is no file": {
			[]pgtest.Option{pgtest.Migrations(twoTables), pgtest.Seed(os.DirFS(dir))}, "seeds: read 1_a.sql",
		},
		"the migrator's digest": {
			[]pgtest.Option{pgtest.Migrator(undigested{})}, "hash of the migrations: no digest",
		},
	} {
		r := &recorder{TB: t}
		failures := r.run(func() { pgtest.New(r, c.opts...) })
		if len(failures) != 1 || !strings.Contains(failures[0], c.want) {
			t.Errorf("%s: %q", name, failures)
		}
	}
}

type undigested struct{ explosive }

func (undigested) Hash() (string, error) { return "", errors.New("no digest") }

// A server that does not answer fails the test, and what lists or cleans; the password is in
// neither.
func TestNobodyListens(t *testing.T) {
	t.Setenv("PGTEST_URL", "postgres://u:s3cretword@/postgres?host="+t.TempDir()) // no socket is there
	var failures []string
	for _, use := range []func(pgtest.TB){
		func(t pgtest.TB) { pgtest.New(t, pgtest.Migrations(twoTables)) },
		func(t pgtest.TB) { pgtest.URL(t, pgtest.Migrations(twoTables)) },
	} {
		r := &recorder{TB: t}
		failures = append(failures, r.run(func() { use(r) })...)
	}
	_, keptErr := pgtest.Kept(t.Context())
	_, cleanErr := pgtest.Clean(t.Context(), pgtest.CleanOptions{})
	failures = append(failures, fmt.Sprint(keptErr), fmt.Sprint(cleanErr))
	if len(failures) != 4 {
		t.Errorf("%q", failures)
	}
	for _, f := range failures {
		said := strings.Contains(f, "connect to the server: ") && strings.Contains(f, "no such file")
		if !said || strings.Contains(f, "s3cretword") {
			t.Error(f)
		}
	}
}

// A test that is called off while its database is made fails with the reason, and leaves nothing.
func TestCalledOffMeanwhile(t *testing.T) {
	t.Parallel()
	admin, env := configured(t) // where nothing is made ahead
	runChild(t, "TestChildCalledOff", env)
	// The one that was on its way is dropped by the next start.
	if left := scan(t, admin, allOurs); len(strings.Fields(left)) > 1 {
		t.Errorf("left: %s", left)
	}
	runChild(t, "TestChildTakes", env)
	if left := scan(t, admin, allOurs); left != "" {
		t.Errorf("left after the next start: %s", left)
	}
}

// calledOff is a test whose context has ended.
type calledOff struct {
	*recorder
	ctx context.Context
}

func (c calledOff) Context() context.Context { return c.ctx }

func TestChildCalledOff(t *testing.T) {
	onlyAsChild(t)
	pgtest.New(t, pgtest.Migrations(twoTables)) // has the only copy
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough of it"))
	r := calledOff{&recorder{TB: t}, ctx}
	failures := r.run(func() { pgtest.New(r, pgtest.Migrations(twoTables)) })
	if len(failures) != 1 || !strings.Contains(failures[0], "copy the template: enough of it") {
		t.Errorf("%q", failures)
	}
	own(t, 1)
}

// A connection that could not be acquired is no leak.
func TestAcquireCalledOff(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	failures := r.run(func() {
		pool := pgtest.New(r, pgtest.Migrations(twoTables))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := pool.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	if len(failures) > 0 {
		t.Errorf("%q", failures)
	}
}

// A role that somebody gave something to stays until that is taken back.
func TestCleanLeavesARoleInUse(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	runChild(t, "TestChildTakes", env)
	const roles = "select coalesce(string_agg(rolname, ' '), '') from pg_roles where rolname ~ '^pgtest_[0-9a-f]{8}$'"
	role := scan(t, admin, roles)
	execURL(t, admin, "create table granted (id int)")
	execURL(t, admin, "grant select on granted to "+role)
	out, err := child(t, "TestChildClean", env).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "role "+role+" stays") {
		t.Errorf("cleaning does not say that the role stays: %s", out)
	}
	if left := scan(t, admin, roles); left != role {
		t.Errorf("roles %q, want %q", left, role)
	}
	execURL(t, admin, "drop table granted")
	runChild(t, "TestChildClean", env)
	if left := scan(t, admin, roles); left != "" {
		t.Errorf("roles %q", left)
	}
}

// A kept database that a prepared transaction uses stays, and cleaning says why.
func TestCleanOfAPreparedTransaction(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{Settings: map[string]string{"max_prepared_transactions": "2"}})
	env := "PGTEST_URL=" + server.URL()
	out, err := child(t, "TestChildFails", env, "PGTEST_KEEP=true").CombinedOutput()
	command := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(string(out))
	if err == nil || command == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	execURL(t, command[1], "begin; insert into pages values (7); prepare transaction 'left'")
	out, err = child(t, "TestChildClean", env).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "stays: ") || !strings.Contains(string(out), "1 prepared transaction") {
		t.Errorf("%v\n%s", err, out)
	}
	execURL(t, command[1], "rollback prepared 'left'")
	runChild(t, "TestChildClean", env)
	if left := scan(t, server.URL(), allOurs); left != "" {
		t.Errorf("left: %s", left)
	}
}

// A server that accepts connections and answers nothing costs the process one time-out, not one for
// each test, and it says what it waits for.
func TestFailureIsRemembered(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	out, err := child(t, "TestChildWaitsForNobody", "PGTEST_URL=postgres://u@"+l.Addr().String()+"/postgres?sslmode=disable").
		CombinedOutput()
	if err == nil || time.Since(began) > 40*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	if n := strings.Count(string(out), "an earlier test of this process found no server"); n != 4 {
		t.Errorf("%d of 4 tests failed with the first error:\n%s", n, out)
	}
	if !strings.Contains(string(out), "pgtest: waiting for a server for tests") {
		t.Errorf("it does not say what it waits for:\n%s", out)
	}
}

func TestChildWaitsForNobody(t *testing.T) {
	onlyAsChild(t)
	for range 5 {
		t.Run("", func(t *testing.T) { pgtest.New(t, pgtest.Migrations(twoTables)) })
	}
}

// What is set for the administrator's role or its database does not reach the sessions of pgtest.
func TestSettingsOfTheAdministrator(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	for _, sql := range []string{
		"alter role adm set default_transaction_read_only = on", "alter role adm set statement_timeout = '1ms'",
		"alter role adm set idle_session_timeout = '1ms'", "alter role adm set role = 'pg_monitor'",
		"alter database postgres set lock_timeout = '1ms'",
	} {
		execURL(t, admin, sql)
	}
	runChild(t, "TestChildSubtests", env)
}

// A PGTEST_URL that cannot do for tests is refused with the variable and the rule.
func TestConfiguredServerIsUnfit(t *testing.T) {
	server := fault.NewServer(t, fault.ServerOptions{TCP: true})
	server.Exec(t, "create role plain login createdb password 's3cretword'")
	cfg, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal("the server's URL does not parse")
	}
	unfit := func(url string) string {
		t.Helper()
		t.Setenv("PGTEST_URL", url)
		r := &recorder{TB: t}
		return strings.Join(r.run(func() { pgtest.New(r, pgtest.Migrations(twoTables)) }), "\n")
	}
	got := unfit(fmt.Sprintf("postgres://plain:s3cretword@127.0.0.1:%d/postgres?sslmode=disable", cfg.Port))
	if !strings.Contains(got, "PGTEST_URL names the role plain, which is no superuser") || strings.Contains(got, "s3cret") {
		t.Errorf("a plain role: %q", got)
	}
	bouncer := fault.NewPgBouncer(t, server.URL(), nil)
	if got := unfit(bouncer.URL()); !strings.Contains(got, "PGTEST_URL leads through a connection pooler") {
		t.Errorf("a pooler: %q", got)
	}
}
