package option

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// SecretFile returns a Password that reads the configuration's secret file for each connection. It
// is nil if there is no such file. A file that cannot be read while it is being replaced counts as
// unchanged. logger is called late: an option may set the logger after this.
func SecretFile(cfg pgconfig.Config, logger func() *slog.Logger) dial.Password {
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
			logger().WarnContext(ctx, "cannot read the file with the database password again, using its last content",
				"error", err.Error())
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
