package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// The mode that caches prepared statements fails behind PgBouncer in transaction mode for pgx as
// well.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	binary, err := osexec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("pgbouncer is not in PATH")
	}
	b := setup(t)
	address := startPgBouncer(t, binary, b.pool.Config().ConnConfig)
	for _, mode := range execModes[1:] {
		for name, opts := range map[string]pgtx.Options{
			"lazy": {}, "eager": {Eager: true}, "below a deadline": {StatementTimeout: time.Hour, Timeout: time.Minute}, "verified": verified,
		} {
			t.Run(mode.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				config := b.pool.Config()
				config.MaxConns = 4
				config.ConnConfig = address.Copy()
				config.ConnConfig.DefaultQueryExecMode = mode
				pool, err := pgxpool.NewWithConfig(t.Context(), config)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(pool.Close)
				for range 20 {
					err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
						if err := add(ctx, tx, 1, 1); err != nil {
							return err
						}
						if err := inner(ctx, pool, errBusiness); !errors.Is(err, errBusiness) {
							t.Errorf("inner error is %v", err)
						}
						return add(ctx, tx, 1, -1)
					})
					if err != nil {
						t.Fatal(err)
					}
					if err := pgtx.Atomic(t.Context(), pool, opts, moves()); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
	t.Cleanup(func() {
		if one, two := b.balance(t, 1), b.balance(t, 2); one != 100-16*200 || two != 100+16*200 {
			t.Errorf("balances are %d and %d", one, two)
		}
	})
}

// startPgBouncer puts PgBouncer in transaction mode before the server of direct, on a unix socket.
func startPgBouncer(t *testing.T, binary string, direct *pgx.ConnConfig) *pgx.ConnConfig {
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
	text := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"+
		"unix_socket_dir = %s\nlisten_port = 6432\ndefault_pool_size = 2\n",
		direct.Database, direct.Host, direct.Port, direct.User, dir)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", ini}
	if os.Geteuid() == 0 {
		args = []string{"-q", "-u", socketOwner(t, direct.Host), ini}
	}
	cmd := osexec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	cfg := direct.Copy()
	cfg.Host, cfg.Port, cfg.Fallbacks = dir, 6432, nil
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
func socketOwner(t *testing.T, dir string) string {
	t.Helper()
	fi, err := os.Stat(dir)
	if err != nil {
		return "nobody" // a server on TCP
	}
	stat, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner on this platform")
	}
	owner, err := user.LookupId(strconv.Itoa(int(stat.Uid)))
	if err != nil {
		t.Fatal(err)
	}
	return owner.Username
}
