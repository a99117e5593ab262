package pgpool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/testkit"
)

// rotate changes the role's password on the server.
func rotate(t *testing.T, url func(password string) string, from, to string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url(from))
	if err != nil {
		t.Fatal("cannot log in to change the password")
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `alter role current_user password '`+to+`'`); err != nil {
		t.Fatal("cannot change the password")
	}
}

func TestSecretFileIsReadAgain(t *testing.T) {
	t.Parallel()
	const old, renewed = "open-sesame-58", "open-barley-59"
	url := testkit.PasswordServer(t, "rotating", old)
	for name, tt := range map[string]struct {
		variable string
		content  func(password string) string
	}{
		"password": {"DATABASE_PASSWORD_FILE", func(password string) string { return password + "\n" }},
		"url":      {"DATABASE_URL_FILE", url},
	} {
		t.Run(name, func(t *testing.T) { // not parallel: it is one role's password
			file := filepath.Join(t.TempDir(), "secret")
			write := func(password string) {
				if err := os.WriteFile(file, []byte(tt.content(password)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(old)
			environ := map[string]string{"APP_ENV": "test", tt.variable: file}
			if name == "password" {
				environ["DATABASE_URL"] = strings.Replace(url(""), ":@", "@", 1)
			}
			cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ})
			if err != nil {
				t.Fatal(err)
			}
			var log logs
			pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(log.Logger()))
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()

			rotate(t, url, old, renewed)
			defer rotate(t, url, renewed, old)
			pool.Reset() // connections that are open stay logged in
			err = pool.Ping(t.Context())
			if pgerr.Of(err) != pgerr.Auth {
				t.Fatalf("with the old password: %v, want auth", err)
			}
			write(renewed)
			if err := pool.Ping(t.Context()); err != nil {
				t.Fatalf("with the new password: %v", err)
			}
			// While the file is being replaced, what it said last counts.
			spoilt := []struct {
				reason string
				spoil  func() error
			}{
				{"names a file that does not exist", func() error { return nil }},
				{"names a file that is empty", func() error { return os.WriteFile(file, []byte(" \n"), 0o600) }},
				{"names a file that cannot be read", func() error { return os.Mkdir(file, 0o700) }},
			}
			if name == "url" {
				spoilt = append(spoilt, struct {
					reason string
					spoil  func() error
				}{"it holds no password for this connection", func() error {
					return os.WriteFile(file, []byte(url("")), 0o600)
				}})
			}
			for _, s := range spoilt {
				if err := errors.Join(os.Remove(file), s.spoil()); err != nil {
					t.Fatal(err)
				}
				pool.Reset()
				if err := pool.Ping(t.Context()); err != nil {
					t.Errorf("%s: %v", s.reason, err)
				}
				if len(log.Lines(s.reason)) == 0 || len(log.Lines("using its last content")) == 0 {
					t.Errorf("log is %q, want a warning that %s", &log, s.reason)
				}
				if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for _, secret := range []string{old, renewed} {
				if strings.Contains(log.String(), secret) {
					t.Error("a password is in the log")
				}
			}
		})
	}
}

func TestPasswordSource(t *testing.T) {
	t.Parallel()
	const old, renewed = "token-one-61", "token-two-62"
	url := testkit.PasswordServer(t, "tokens", old)
	var current atomic.Value
	current.Store(old)
	config := parse(t, url("none-of-them"))
	pool := connect(t, config, pgpool.WithPassword(func(ctx context.Context) (string, error) {
		if _, ok := ctx.Deadline(); !ok {
			return "", errors.New("the context has no limit")
		}
		return current.Load().(string), nil
	}))
	rotate(t, url, old, renewed)
	current.Store(renewed)
	pool.Reset()
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPasswordSourceThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no token today")
	_, err := pgpool.ConnectConfig(t.Context(), database(t), pgpool.WithLogger(nil),
		pgpool.WithStartupTimeout(time.Minute),
		pgpool.WithPassword(func(context.Context) (string, error) { return "", broken }))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || !errors.Is(err, broken) ||
		!strings.Contains(err.Error(), "get the password") {
		t.Errorf("error is %v, want the source's after one attempt", err)
	}
}
