package pgmigrate_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestServerRestart stops or kills the server while a statement of a migration waits, and starts it
// again: the next Up continues, or names the section that a person has to look at.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const (
		table = "create table a (n int);\n"
		wait  = "select pg_advisory_xact_lock(7);\n"
	)
	for _, end := range []struct {
		name string
		fn   func(*testing.T)
	}{{"stopped", s.stop}, {"killed", s.kill}} {
		for _, test := range []struct {
			name, second string
			dirty        bool
			rows         int // after the next Up
		}{
			{"transaction", "insert into a values (1);\n" + wait, false, 1},
			{"statements", noTx + "insert into a values (1);\n" + wait + "insert into a values (2);\n", true, 1},
			{"index", noTx + "create index concurrently a_n on a (n);\n", false, 0},
		} {
			t.Run(end.name+" "+test.name, func(t *testing.T) {
				b := s.bench(t)
				b.exec(t, "drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade")
				m := migrator(t, b, files("1_a.sql", table, "2_b.sql", test.second), pgmigrate.WithLockTimeout(time.Minute))
				if _, err := m.To(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				// The statements wait for the advisory lock, the index for the transaction.
				b.exec(t, "select pg_advisory_lock(7); begin; lock table a in row exclusive mode")
				watch := s.bench(t)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() { _, err := m.Up(ctx); done <- err }()
				for !ask[bool](t, watch, "select exists (select from pg_stat_activity where application_name = 'pgmigrate' and wait_event_type = 'Lock')") {
					select {
					case err := <-done:
						t.Fatalf("ended early: %v", err)
					default:
					}
				}
				end.fn(t)
				var failed *pgmigrate.MigrationError
				if err := <-done; !errors.As(err, &failed) || failed.Version != 2 {
					t.Errorf("the interrupted run: %v", err)
				}

				s.start(t)
				b = s.bench(t)
				r, err := m.Up(ctx)
				var dirty *pgmigrate.DirtyError
				switch {
				case !test.dirty && (err != nil || r.From != 1 || r.To != 2):
					t.Errorf("the next run: %+v, %v", r, err)
				case test.dirty && (!errors.As(err, &dirty) || dirty.Version != 2 || dirty.Statement != 2 || dirty.Line != 3):
					t.Errorf("the next run: %+v, %v", r, err)
				}
				if n := ask[int](t, b, "select count(*) from a"); n != test.rows {
					t.Errorf("%d rows, want %d", n, test.rows)
				}
				if ask[bool](t, b, "select exists (select from pg_index where not indisvalid)") {
					t.Error("an index is invalid")
				}
				if test.name == "index" && !ask[bool](t, b, "select to_regclass('a_n') is not null") {
					t.Error("the index is missing")
				}
			})
		}
	}
}

// ownServer is a server that a test may end, with one database.
type ownServer struct {
	dev pgserver.Dev
	url string
}

func startServer(t *testing.T) *ownServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgm") // a socket's path may only have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// As root the server runs as another user, who must be able to enter.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &ownServer{dev: pgserver.Dev{Dir: dir}}
	t.Cleanup(func() {
		if err := s.dev.Remove(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("remove the server: %v", err)
		}
	})
	s.start(t)
	return s
}

// start tries for a while, because what a killed server leaves behind goes by itself.
func (s *ownServer) start(t *testing.T) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if s.url, err = s.dev.Start(t.Context()); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (s *ownServer) stop(t *testing.T) {
	t.Helper()
	if err := s.dev.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// kill ends the server's first process, as the kernel does when memory is short; the others follow
// by themselves.
func (s *ownServer) kill(t *testing.T) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dev.Dir, "*", "data", "postmaster.pid"))
	if err != nil || len(found) != 1 {
		t.Fatalf("pid files %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func (s *ownServer) bench(t *testing.T) *bench {
	t.Helper()
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		t.Fatal("parse the server's address")
	}
	b := &bench{config: cfg}
	b.conn = b.connect(t)
	return b
}
