package pgpool_test

import (
	"bytes"
	"context"
	"errors"
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

// ownServer is a server that a test may stop, kill and start again.
type ownServer struct {
	pgserver.Dev
	url string
	dir string // with the socket
}

func startServer(t *testing.T) *ownServer {
	t.Helper()
	s := &ownServer{Dev: pgserver.Dev{Name: "s", Dir: shortDir(t)}}
	s.dir = filepath.Join(s.Dir, s.Name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	s.start(t)
	return s
}

// shortDir is a directory that the server's user can enter, short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // holds no secret
		t.Fatal(err)
	}
	return dir
}

// start starts the server; a killed one may need a moment until the last of its processes is gone.
func (s *ownServer) start(t *testing.T) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if s.url, err = s.Start(t.Context()); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (s *ownServer) stop(t *testing.T) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *ownServer) kill(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
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

// standby makes a standby of s in a directory of its own and returns where its socket is, and how
// to promote it.
func (s *ownServer) standby(t *testing.T) (dir string, promote func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var bin string
	if err := conn.QueryRow(t.Context(), `select setting from pg_config where name = 'BINDIR'`).Scan(&bin); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "pg_basebackup")); err != nil {
		t.Skip("no pg_basebackup beside the server's binaries")
	}
	dir = shortDir(t)
	data := filepath.Join(dir, "data")
	run := func(ctx context.Context, program string, args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
		var out bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = "/", &out, &out, pgbouncer.SameUser(t, filepath.Join(s.dir, "data"))
		cmd.WaitDelay = time.Second // pg_ctl's server keeps the output open
		if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return fmt.Errorf("%s: %w: %s", program, err, &out)
		}
		return nil
	}
	if err := pgbouncer.ChownLike(dir, filepath.Join(s.dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "pg_basebackup", "-h", s.dir, "-U", "postgres", "-D", data, "-R", "-c", "fast", "-X", "stream"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := run(ctx, "pg_ctl", "stop", "-D", data, "-m", "immediate", "-w"); err != nil {
			t.Error(err)
		}
	})
	if err := run(t.Context(), "pg_ctl", "start", "-D", data, "-w", "-s", "-l", filepath.Join(dir, "log"),
		"-o", "-c unix_socket_directories="+dir+" -c port=5432 -c listen_addresses=''"); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		conn, err := pgx.Connect(t.Context(), multiHost("any", dir))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), `select pg_promote()`); err != nil {
			t.Fatal(err)
		}
	}
}

// multiHost is a URL of several sockets.
func multiHost(attrs string, dirs ...string) string {
	query := url.Values{"host": {strings.Join(dirs, ",")}, "port": {strings.TrimSuffix(strings.Repeat("5432,", len(dirs)), ",")}, "target_session_attrs": {attrs}}
	return "postgres://postgres@/app?" + query.Encode()
}
