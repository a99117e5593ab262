package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// startLimit is for a machine that is busy with other tests. A program that fails exits, which ends
// the wait.
const startLimit = time.Minute

// PgBouncer is a connection pooler of one test in front of a database. Its methods must not be
// called concurrently.
type PgBouncer struct {
	program string
	keeper  *keeper
	url     string
	cmd     *exec.Cmd
	output  bytes.Buffer
	ended   chan struct{}
}

// NewPgBouncer starts PgBouncer in front of the database that connString names. Clients connect as
// any user and without a password, and always get to this database, as connString's user.
//
// Settings belong to the section [pgbouncer] of its configuration, and win over these:
//
//   - pool_mode = transaction
//   - default_pool_size = 2, so that clients meet each other's prepared statements
//
// It listens on a Unix socket, and ends with the test. Where it is not installed the test is
// skipped.
func NewPgBouncer(t TB, connString string, settings map[string]string) *PgBouncer {
	t.Helper()
	program, err := findPgBouncer()
	if err != nil {
		t.Skipf("fault: %v", err)
		return nil
	}
	b := &PgBouncer{program: program}
	owner, err := pgserver.FindOwner()
	if err == nil {
		b.keeper, err = keep(owner)
	}
	if err != nil {
		t.Fatalf("fault: PgBouncer: %v", err)
		return nil
	}
	t.Cleanup(func() {
		b.halt()
		b.keeper.release()
	})
	if err := b.configure(connString, settings); err != nil {
		t.Fatalf("fault: PgBouncer: %v", err)
		return nil
	}
	b.Start(t)
	return b
}

// URL returns the connection string of the database behind PgBouncer.
func (b *PgBouncer) URL() string { return b.url }

// Start starts PgBouncer again after Stop. It returns when PgBouncer listens.
func (b *PgBouncer) Start(t pgserver.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := b.start(ctx); err != nil {
		t.Fatalf("fault: start PgBouncer: %v", err)
	}
}

// Stop ends PgBouncer at once, with all connections through it.
func (b *PgBouncer) Stop() { b.halt() }

func findPgBouncer() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/pgbouncer" // not in an ordinary user's PATH; none at all hides it from a test
	if info, err := os.Stat(debian); err == nil && info.Mode()&0o111 != 0 && os.Getenv("PATH") != "" {
		return debian, nil
	}
	return "", errors.New("pgbouncer is not installed (Debian and Ubuntu: apt-get install pgbouncer)")
}

func (b *PgBouncer) configure(connString string, settings map[string]string) error {
	server, err := parseTarget(connString)
	if err != nil {
		return err
	}
	b.url = server.url(&port{network: "unix", address: filepath.Join(b.keeper.dir, socketName)}, Options{})

	set := map[string]string{
		"unix_socket_dir":   b.keeper.dir,
		"listen_port":       "5432",
		"auth_type":         "any",
		"auth_file":         filepath.Join(b.keeper.dir, "users"),
		"pool_mode":         "transaction",
		"default_pool_size": "2",
	}
	maps.Copy(set, settings)
	var ini strings.Builder
	// Whatever database a client names: not every name can stand in the file.
	fmt.Fprintf(&ini, "[databases]\n* = host=%s port=%d dbname=%s user=%s",
		quoteValue(server.Host), server.Port, quoteValue(server.Database), quoteValue(server.User))
	if server.Password != "" {
		fmt.Fprintf(&ini, " password=%s", quoteValue(server.Password))
	}
	ini.WriteString("\n[pgbouncer]\n")
	if server.TLSConfig != nil && !server.plain {
		ini.WriteString("server_tls_sslmode = require\n")
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(&ini, "%s = %s\n", name, set[name])
	}
	for name, text := range map[string]string{"users": "", "ini": ini.String()} {
		if err := b.keeper.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

func quoteValue(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

func (b *PgBouncer) start(ctx context.Context) error {
	os.Remove(filepath.Join(b.keeper.dir, socketName)) // of one that was stopped
	b.output.Reset()
	b.cmd = b.keeper.program(b.program, filepath.Join(b.keeper.dir, "ini"))
	b.cmd.Stdout, b.cmd.Stderr = &b.output, &b.output
	if err := b.cmd.Start(); err != nil {
		return err
	}
	ended, cmd := make(chan struct{}), b.cmd
	b.ended = ended
	go func() { defer close(ended); _ = cmd.Wait(); b.keeper.forget(cmd) }()
	// 2 ms: a start takes about 10. Nothing but an answer tells that it listens: the socket's file
	// is there a moment before.
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		if conn, err := net.Dial("unix", filepath.Join(b.keeper.dir, socketName)); err == nil {
			tick.Stop()
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("it exited; its log ends:\n%s", &b.output)
		case <-ctx.Done():
			return fmt.Errorf("it does not listen: %w", context.Cause(ctx))
		}
	}
}

func (b *PgBouncer) halt() {
	if b.ended == nil {
		return
	}
	// Which signal means "at once" depends on the version, but for this one.
	_ = b.cmd.Process.Kill() // it may have exited by itself
	<-b.ended
	b.ended = nil
}
