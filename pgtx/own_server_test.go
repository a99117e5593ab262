package pgtx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// ownServer is a server that a test may crash and start again.
type ownServer struct {
	pgserver.Dev
	url string
	dir string // with the socket and the data
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
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // holds no secret
		t.Fatal(err)
	}
	return dir
}

// start starts the server; after a crash it may need a moment until the last of its processes is
// gone.
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

// crash is an immediate stop: no checkpoint, no word to the clients. It returns when the postmaster
// is gone.
func (s *ownServer) crash(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.dir, "data", "postmaster.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err == nil && pid > 1 {
		err = syscall.Kill(pid, syscall.SIGQUIT)
	}
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not stop")
		}
	}
}

// standby is a copy of a server that follows it.
type standby struct {
	dir string // with the socket and the data
	run func(ctx context.Context, program string, args ...string) error
}

// standby makes one in a directory of its own.
func (s *ownServer) standby(t *testing.T) *standby {
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
	info, err := os.Stat(filepath.Join(s.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	// PostgreSQL's programs refuse to run as root.
	var attr *syscall.SysProcAttr
	b := &standby{dir: shortDir(t)}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		if err := os.Chown(b.dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	b.run = func(ctx context.Context, program string, args ...string) error {
		cmd := osexec.CommandContext(ctx, filepath.Join(bin, program), args...)
		var out bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = "/", &out, &out, attr
		cmd.WaitDelay = time.Second // pg_ctl's server keeps the output open
		if err := cmd.Run(); err != nil && !errors.Is(err, osexec.ErrWaitDelay) {
			return fmt.Errorf("%s: %w: %s", program, err, &out)
		}
		return nil
	}
	if err := b.run(t.Context(), "pg_basebackup", "-h", s.dir, "-U", "postgres", "-D", b.data(), "-R", "-c", "fast", "-X", "stream"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := os.Stat(filepath.Join(b.data(), "postmaster.pid")); err != nil {
			return
		}
		if err := b.run(ctx, "pg_ctl", "stop", "-D", b.data(), "-m", "immediate", "-w"); err != nil {
			t.Error(err)
		}
	})
	b.start(t)
	return b
}

func (b *standby) data() string { return filepath.Join(b.dir, "data") }

func (b *standby) socket() string { return filepath.Join(b.dir, ".s.PGSQL.5432") }

func (b *standby) url() string {
	return "postgres://postgres@/app?" + url.Values{"host": {b.dir}, "port": {"5432"}}.Encode()
}

func (b *standby) start(t *testing.T) {
	t.Helper()
	if err := b.run(t.Context(), "pg_ctl", "start", "-D", b.data(), "-w", "-s", "-l", filepath.Join(b.dir, "log"),
		"-o", "-c unix_socket_directories="+b.dir+" -c port=5432 -c listen_addresses=''"); err != nil {
		t.Fatal(err)
	}
}

func (b *standby) stop(t *testing.T) {
	t.Helper()
	if err := b.run(t.Context(), "pg_ctl", "stop", "-D", b.data(), "-m", "fast", "-w", "-s"); err != nil {
		t.Fatal(err)
	}
}
