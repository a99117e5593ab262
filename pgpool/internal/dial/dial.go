// Package dial makes single connections and asks the server about them, for pgpool, pgpool/listen
// and pgpool/replica.
package dial

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

// OneLine joins the lines that pgx prints for several addresses.
var OneLine = strings.NewReplacer(":\n\t", ": ", "\n\t", "; ", "\n", "; ")

// ErrorAttrs returns the category and the text of an error for the log.
func ErrorAttrs(err error) []slog.Attr {
	return []slog.Attr{
		slog.String("category", string(pgerr.Of(err))), slog.String("error", OneLine.Replace(err.Error())),
	}
}

// Sleep waits for d. It returns ctx's error if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Password returns what the next connection logs in with. An empty user keeps the configuration's.
type Password func(ctx context.Context) (user, password string, err error)

// Set asks for the password and writes it to cfg. A nil Password changes nothing. It waits for at
// most limit, or without a limit if that is 0: pgx's ConnectTimeout covers connecting only.
func (p Password) Set(ctx context.Context, cfg *pgx.ConnConfig, limit time.Duration) error {
	if p == nil {
		return nil
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	user, password, err := p(ctx)
	if err != nil {
		return fmt.Errorf("get the password: %w", err)
	}
	if user != "" {
		cfg.User = user
	}
	cfg.Password = password
	return nil
}

// Budget limits ctx to what one connect may take: cfg's ConnectTimeout for each host, and as much
// again for the password and once more for what is asked after the login.
func Budget(ctx context.Context, cfg *pgx.ConnConfig) (context.Context, context.CancelFunc) {
	if cfg.ConnectTimeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, cfg.ConnectTimeout*time.Duration(2+len(cfg.Fallbacks)))
}

// Connect makes one connection that belongs to no pool. It tries once.
func Connect(ctx context.Context, cfg *pgx.ConnConfig, password Password) (*pgx.Conn, error) {
	cfg = cfg.Copy()
	if err := password.Set(ctx, cfg, cfg.ConnectTimeout); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, WithoutPassword(err)
	}
	return conn, nil
}

// Close closes conn even if ctx has ended, and waits for at most a second.
func Close(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// WithoutPassword returns err without the password in the configuration that pgx's error carries.
// Its text does not show the password, but a dump by reflection would. err itself stays as it is,
// because a tracer may hold it.
func WithoutPassword(err error) error {
	failed, ok := err.(*pgconn.ConnectError) //nolint:errorlint // one that is wrapped cannot be replaced
	if !ok || failed.Config == nil {
		return err
	}
	masked := *failed
	masked.Config = failed.Config.Copy()
	masked.Config.Password = ""
	return &masked
}

// PasswordOnly makes a Password of a function that returns no user. It is nil for nil.
func PasswordOnly(source func(ctx context.Context) (string, error)) Password {
	if source == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		password, err := source(ctx)
		return "", password, err
	}
}
