// Package pgbouncer starts PgBouncer for tests.
package pgbouncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Start starts PgBouncer in transaction mode in front of the database, which is on a socket, and
// returns its URL. It ends with the test. It has two connections to the server, so that clients
// meet each other's prepared statements. settings are lines of its configuration. Where PgBouncer
// is not installed the test is skipped.
func Start(t testing.TB, database string, settings ...string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("pgbouncer is not in PATH (Debian and Ubuntu: apt-get install pgbouncer)")
	}
	server, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	dir, err := os.MkdirTemp("", "pb") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	users, ini := filepath.Join(dir, "users"), filepath.Join(dir, "ini")
	text := fmt.Sprintf("[databases]\napp = host=%s port=%d dbname=%s user=%s\n[pgbouncer]\nunix_socket_dir = %s\n"+
		"listen_port = 6432\n"+
		"auth_type = any\nauth_file = %s\npool_mode = transaction\ndefault_pool_size = 2\nlogfile = %s\n%s\n",
		server.Host, server.Port, server.Database, server.User, dir, users, filepath.Join(dir, "log"),
		strings.Join(settings, "\n"))
	if err := errors.Join(os.WriteFile(users, nil, 0o644),
		os.WriteFile(ini, []byte(text), 0o644),                          // no secrets
		os.Chmod(dir, 0o755), ChownLike(dir, server.Host)); err != nil { // its user has to enter
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, ini)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second // then it is killed
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = "/", &out, &out, SameUser(t, server.Host)
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		// The file is there a moment before anybody listens on it.
		if conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432")); err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("pgbouncer ended: %s", &out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("pgbouncer does not listen")
		}
	}
	query := url.Values{"host": {dir}, "port": {"6432"}}
	return "postgres://" + url.User(server.User).String() + "@/app?" + query.Encode()
}

// SameUser makes a program run as the owner of path: PostgreSQL's programs refuse to run as root.
func SameUser(t testing.TB, path string) *syscall.SysProcAttr {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		return nil
	}
	owner := info.Sys().(*syscall.Stat_t)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
}

// ChownLike gives path to the owner of like, if we may.
func ChownLike(path, like string) error {
	info, err := os.Stat(like)
	if err != nil || os.Getuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}
