package replica_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool/internal/pgbouncer"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// server is a primary or standby that a test may stop, kill and start again. Its socket is in dir.
type server struct {
	dir string
	bin string
}

// startPrimary starts a server of the test's own. Where there is no pg_basebackup the test is
// skipped.
func startPrimary(t *testing.T) *server {
	t.Helper()
	bin, err := pgserver.Binaries(t.Context(), pgserver.Options{})
	if err != nil {
		t.Skip(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "pg_basebackup")); err != nil {
		t.Skip("no pg_basebackup beside the server's binaries")
	}
	shared, err := pgx.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	s := &server{dir: shortDir(t), bin: bin}
	if err := pgbouncer.ChownLike(s.dir, shared.Host); err != nil { // whom the shared server runs as
		t.Fatal(err)
	}
	if err := s.run(t.Context(), t, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "--wal-segsize=1"); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	s.stopAtEnd(t)
	return s
}

// standby makes a standby that receives from s, and starts it.
func (s *server) standby(t *testing.T) *server {
	t.Helper()
	other := &server{dir: shortDir(t), bin: s.bin}
	if err := pgbouncer.ChownLike(other.dir, s.data()); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context(), t, "pg_basebackup", "-h", s.dir, "-U", "postgres", "-D", other.data(), "-R", "-c", "fast", "-X", "stream", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	other.stopAtEnd(t)
	other.start(t)
	return other
}

func (s *server) stopAtEnd(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(s.data(), "postmaster.pid")); err != nil {
			return // the test has stopped it
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.run(ctx, t, "pg_ctl", "stop", "-D", s.data(), "-m", "immediate", "-w"); err != nil {
			t.Error(err)
		}
	})
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) run(ctx context.Context, t *testing.T, program string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	out, err := os.CreateTemp("", "pr") // no pipe: the server that pg_ctl starts would keep it open
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = "/", out, out, pgbouncer.SameUser(t, s.dir)
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return nil
}

// start starts a standby; of a killed one the last processes may need a moment to go.
func (s *server) start(t *testing.T) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = s.run(t.Context(), t, "pg_ctl", "start", "-D", s.data(), "-w", "-s", "-l", filepath.Join(s.dir, "log"),
			"-o", "-F -c unix_socket_directories="+s.dir+" -c port=5432 -c listen_addresses=''")
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.run(t.Context(), t, "pg_ctl", "stop", "-D", s.data(), "-m", "immediate", "-w"); err != nil {
		t.Fatal(err)
	}
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err == nil && pid > 1 {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// url leads to the database on s, or on the first of s and others that attrs fits.
func (s *server) url(attrs string, others ...*server) string {
	hosts, ports := []string{s.dir}, []string{"5432"}
	for _, other := range others {
		hosts, ports = append(hosts, other.dir), append(ports, "5432")
	}
	query := url.Values{"host": {strings.Join(hosts, ",")}, "port": {strings.Join(ports, ",")}, "target_session_attrs": {attrs}}
	return "postgres://postgres@/postgres?" + query.Encode()
}

// conn is a connection past the pools.
func (s *server) conn(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.url("any"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (s *server) exec(t *testing.T, sqls ...string) {
	t.Helper()
	conn := s.conn(t)
	defer conn.Close(t.Context())
	for _, sql := range sqls {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// position is where the replay of a standby is.
func (s *server) position(t *testing.T) (lsn int64) {
	t.Helper()
	conn := s.conn(t)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `select (pg_last_wal_replay_lsn() - '0/0')::bigint`).Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	return lsn
}

// shortDir is a directory that the server's user can enter, short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	parent := "/dev/shm" // in memory: several servers write at once
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "pr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // holds no secret
		t.Fatal(err)
	}
	return dir
}

// insertPosition is where the log of a primary ends.
func (s *server) insertPosition(t *testing.T) (lsn int64) {
	t.Helper()
	conn := s.conn(t)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `select (pg_current_wal_insert_lsn() - '0/0')::bigint`).Scan(&lsn); err != nil {
		t.Fatal(err)
	}
	return lsn
}

// pause ends the replay of a standby: it is asked for, and comes a moment later.
func (s *server) pause(t *testing.T) {
	t.Helper()
	s.exec(t, `select pg_wal_replay_pause()`)
	conn := s.conn(t)
	defer conn.Close(t.Context())
	var state string
	eventually(t, func() bool {
		return conn.QueryRow(t.Context(), `select pg_get_wal_replay_pause_state()`).Scan(&state) == nil && state == "paused"
	}, func() any { return state })
}
