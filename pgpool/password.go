package pgpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgconfig"
)

// passwordSource returns what the next connection logs in with. An empty user keeps the
// configuration's.
type passwordSource func(ctx context.Context) (user, password string, err error)

// hookPassword asks source before each connect. The caller's own hook comes after it, and may
// overwrite the result.
func hookPassword(cfg *pgx.ConnConfig, before func(context.Context, *pgx.ConnConfig) error, source passwordSource) func(context.Context, *pgx.ConnConfig) error {
	limit := cfg.ConnectTimeout
	return func(ctx context.Context, cfg *pgx.ConnConfig) error {
		asking, cancel := ctx, context.CancelFunc(func() {})
		if limit > 0 { // pgx's covers connecting only
			asking, cancel = context.WithTimeout(ctx, limit)
		}
		user, password, err := source(asking)
		cancel()
		if err != nil {
			return fmt.Errorf("get the password: %w", err)
		}
		if user != "" {
			cfg.User = user
		}
		cfg.Password = password
		if before != nil {
			return before(ctx, cfg)
		}
		return nil
	}
}

// secretFiles returns the source that reads the configuration's secret file again, or nil if there
// is none. A file that cannot be read for a moment, because it is being replaced, counts as
// unchanged.
func secretFiles(cfg pgconfig.Config, s *settings) passwordSource {
	read := readPasswordFile
	path := cfg.PasswordFile()
	if path == "" {
		read = readURLFile
		for _, setting := range cfg.Report() {
			if strings.HasSuffix(setting.Key, "DATABASE_URL_FILE") {
				path = setting.Value
			}
		}
	}
	if path == "" {
		return nil
	}
	var mu sync.Mutex
	var user, password string
	if pc, err := cfg.PoolConfig(); err == nil {
		password = pc.ConnConfig.Password
	}
	return func(ctx context.Context) (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		u, p, err := read(path)
		if err != nil {
			s.logger.WarnContext(ctx, "the file with the database password cannot be read again, using what it said last", "error", err.Error())
			return user, password, nil
		}
		user, password = u, p
		return u, p, nil
	}
}

// maxSecretFile is pgconfig's limit.
const maxSecretFile = 64 << 10 // bytes

// readSecret names no path and no content: people put the secret where the path belongs.
func readSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", errors.New("it does not exist")
	case errors.Is(err, os.ErrPermission):
		return "", errors.New("this user may not read it")
	case err != nil:
		return "", errors.New("it cannot be read")
	case len(text) > maxSecretFile || len(strings.TrimSpace(string(text))) == 0:
		return "", errors.New("it is empty or no secret")
	}
	return strings.TrimSpace(string(text)), nil
}

func readPasswordFile(path string) (user, password string, err error) {
	password, err = readSecret(path)
	return "", password, err
}

func readURLFile(path string) (user, password string, err error) {
	text, err := readSecret(path)
	if err != nil {
		return "", "", err
	}
	parsed, err := pgconn.ParseConfig(text) // pgconfig has accepted one like it; where it leads to does not change
	if err != nil || parsed.Password == "" {
		return "", "", errors.New("it holds no connection string with a password") // pgx's error may quote it
	}
	return parsed.User, parsed.Password, nil
}
