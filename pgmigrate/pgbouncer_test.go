package pgmigrate_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// Session locks do not work through PgBouncer in transaction mode, so it has to be recognised.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("pgbouncer is not installed")
	}
	for name, ignored := range map[string]string{
		"refuses the settings": "",
		"ignores the settings": "lock_timeout, statement_timeout, client_connection_check_interval, default_transaction_read_only",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			cfg := startPgBouncer(t, binary, b.config, ignored)
			m, err := pgmigrate.New(cfg, three())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Up(t.Context()); !errors.Is(err, pgmigrate.ErrPooled) {
				t.Errorf("up: %v", err)
			}
			if ask[bool](t, b, "select to_regclass('public.schema_version') is not null") {
				t.Error("a refused run has changed the database")
			}
		})
	}
}

// startPgBouncer puts PgBouncer in transaction mode before the server of direct, on a unix socket.
func startPgBouncer(t *testing.T, binary string, direct *pgx.ConnConfig, ignored string) *pgx.ConnConfig {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgb") // a socket's path may only have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// As root PgBouncer has to be told another user, who must be able to write here.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	password := ""
	if direct.Password != "" { // an empty one is a syntax error
		password = " password='" + strings.ReplaceAll(direct.Password, "'", "''") + "'"
	}
	text := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s%s\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"+
		"unix_socket_dir = %s\nlisten_port = 6432\nignore_startup_parameters = %s\n",
		direct.Database, direct.Host, direct.Port, direct.User, password, dir, ignored)
	if err := os.WriteFile(ini, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", ini}
	if os.Geteuid() == 0 {
		owner := socketOwner(t, direct.Host)
		id, err := strconv.Atoi(owner.Uid)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(ini, id, -1); err != nil {
			t.Fatal(err)
		}
		args = []string{"-q", "-u", owner.Username, ini}
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	cfg := direct.Copy()
	cfg.Host, cfg.Port, cfg.TLSConfig, cfg.Fallbacks = dir, 6432, nil, nil
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err == nil {
			conn.Close(t.Context())
			return cfg
		}
		if time.Now().After(deadline) {
			t.Fatalf("pgbouncer does not answer: %v", err)
		}
	}
}

// socketOwner returns who may enter the server's socket folder.
func socketOwner(t *testing.T, dir string) *user.User {
	t.Helper()
	fi, err := os.Stat(dir)
	if err != nil { // a server on TCP
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		return nobody
	}
	stat, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner on this platform")
	}
	owner, err := user.LookupId(strconv.Itoa(int(stat.Uid)))
	if err != nil {
		t.Fatal(err)
	}
	return owner
}
