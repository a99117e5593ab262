// Package option holds what pgpool's options set, because package replica reads some of it.
package option

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// Settings are the settings of one pool. pgpool's options document them.
type Settings struct {
	Logger         *slog.Logger
	Tracers        []pgx.QueryTracer
	StartupTimeout time.Duration
	AcquireTimeout time.Duration
	SlowQuery      time.Duration
	LeakThreshold  time.Duration
	Limits         [3]time.Duration // in the order of dial.Limits
	LimitsChosen   bool             // by an option
	KeepAlive      pgconfig.KeepAlive
	Password       dial.Password
	Metrics        any  // a pgpool.Metrics, or nil
	PgBouncer      bool // the configuration names it
	Types          []string
	AfterConnect   []func(ctx context.Context, conn *pgx.Conn) error

	// OnLost is called when a connection of the pool broke or the server refused a connect. It may
	// be called by several goroutines at once.
	OnLost func(ctx context.Context, err error)
	// Load counts the connections that are in use or waited for. Nil counts nothing.
	Load *atomic.Int64
}

// FromConfig takes over what an operator set for the connections of conn, which cfg made. It goes
// before options, which override it. A server limit that nobody set is taken out of conn: it
// becomes a default, which does not overrule the role's.
func FromConfig(cfg pgconfig.Config, conn *pgx.ConnConfig) func(*Settings) {
	for i, name := range dial.Limits {
		if !cfg.IsSet(limitVariables[i]) {
			delete(conn.RuntimeParams, name)
		}
	}
	return func(s *Settings) {
		s.StartupTimeout = cfg.StartupTimeout
		s.AcquireTimeout = cfg.AcquireTimeout
		s.SlowQuery = cfg.SlowQuery
		s.LeakThreshold = cfg.LeakThreshold
		s.Limits = [3]time.Duration{cfg.StatementTimeout, cfg.LockTimeout, cfg.IdleInTransactionTimeout}
		s.KeepAlive = pgconfig.KeepAlive{} // cfg's connections have theirs
		s.Password = SecretFile(cfg.SecretFile(), conn, func() *slog.Logger { return s.Logger })
		s.PgBouncer = cfg.PgBouncer
	}
}

// limitVariables are pgconfig's names, in the order of dial.Limits.
var limitVariables = [3]string{
	"DATABASE_STATEMENT_TIMEOUT", "DATABASE_LOCK_TIMEOUT", "DATABASE_IDLE_IN_TRANSACTION_TIMEOUT",
}

// SecretFile returns a Password that reads file for each connection of cfg. It is nil if there is
// no such file. A file that cannot be read while it is being replaced counts as unchanged. logger
// is called late: an option may set the logger after this.
func SecretFile(file *pgconfig.SecretFile, cfg *pgx.ConnConfig, logger func() *slog.Logger) dial.Password {
	if file == nil {
		return nil
	}
	var mu sync.Mutex
	user, password := cfg.User, cfg.Password
	return func(ctx context.Context) (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		u, p, err := file.Read()
		if err != nil {
			logger().WarnContext(ctx, "cannot read the file with the database password again, using its last content",
				"error", err.Error())
			return user, password, nil
		}
		user, password = u, p.Reveal()
		return user, password, nil
	}
}
