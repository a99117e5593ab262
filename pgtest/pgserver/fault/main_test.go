package fault_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// TestMain: the tests wait for servers and faults far more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(childEnv) != "" { // a process that is killed; its tests are its own
		os.Exit(m.Run())
	}
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// patience is longer than anything here takes on a busy machine.
const patience = 30 * time.Second

// through returns a database with an empty table, and a proxy in front of it.
func through(t *testing.T, opts fault.Options) (direct string, p *fault.Proxy) {
	t.Helper()
	direct = pgserver.Database(t)
	execute(t, connect(t, direct), "create table notes (id int primary key)")
	return direct, fault.NewProxy(t, direct, opts)
}

func connect(t *testing.T, url string, adapt ...func(*pgx.ConnConfig)) *pgx.Conn {
	t.Helper()
	conn, err := tryConnect(t.Context(), url, adapt...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func tryConnect(ctx context.Context, url string, adapt ...func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	for _, a := range adapt {
		a(cfg)
	}
	return pgx.ConnectConfig(ctx, cfg)
}

func execute(t *testing.T, conn *pgx.Conn, sqls ...string) {
	t.Helper()
	for _, sql := range sqls {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func scan[T any](t *testing.T, conn *pgx.Conn, sql string) (value T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// eventually asks the database until it answers true.
func eventually(t *testing.T, conn *pgx.Conn, question string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !scan[bool](t, conn, question); {
		if time.Now().After(deadline) {
			t.Fatalf("not true for %s: %s", patience, question)
		}
	}
}

// until yields to other goroutines until done returns true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// soon returns what a goroutine sends.
func soon[T any](t *testing.T, result <-chan T) T {
	t.Helper()
	select {
	case r := <-result:
		return r
	case <-time.After(patience):
		t.Fatalf("no result after %s", patience)
		panic("unreachable")
	}
}

// silent fails the test if something arrives while nothing should.
func silent[T any](t *testing.T, result <-chan T) {
	t.Helper()
	select {
	case r := <-result:
		t.Errorf("got %v, want silence", r)
	case <-time.After(100 * time.Millisecond): // 100 times as long as an answer takes
	}
}

// recorder is a test whose failures are looked at.
type recorder struct {
	*testing.T
	mu       sync.Mutex
	failures []string
	skipped  string
	cleanups []func()
}

var errStopped = errors.New("the test was stopped")

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(errStopped)
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	panic(errStopped)
}

func (r *recorder) Cleanup(fn func()) { r.cleanups = append(r.cleanups, fn) }

// run runs fn as a test, with its cleanups.
func (r *recorder) run(fn func()) {
	defer func() {
		for i := range r.cleanups {
			r.cleanups[len(r.cleanups)-1-i]()
		}
		if p := recover(); p != nil && p != errStopped {
			panic(p)
		}
	}()
	fn()
}

// failed checks that the test failed once with these words and without a password.
func (r *recorder) failed(t *testing.T, words string) {
	t.Helper()
	if len(r.failures) != 1 || !strings.Contains(r.failures[0], words) || strings.Contains(r.failures[0], "s3cret") {
		t.Errorf("failures are %q, want one with %q", r.failures, words)
	}
}
