package pgpool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
	"github.com/page-builder/persistence/pgpool/internal/option"
	"github.com/sethvargo/go-retry"
)

const (
	// startupBase is the upper end of the first wait, doubled for each further one.
	startupBase = 50 * time.Millisecond
	// startupCap bounds one wait. A refused attempt costs the server next to nothing, and a
	// deployment stands still until the service is ready: with at most 250 ms it is within 300 ms
	// of the server's first accept.
	startupCap = 250 * time.Millisecond
	// crowdedCap bounds one wait while the server has no free slot. A refusal costs the server
	// nearly as much as a connection. A slot becomes free when another client leaves, which may
	// take long.
	crowdedCap = 2 * time.Second
	// warmPoll is how often the pool's figures are read while its idle connections are being made
	// in the background; pgxpool has no signal for it. A local connect takes about 5 ms.
	warmPoll = 2 * time.Millisecond
)

// startup is one Connect: its budget and what it has met so far.
type startup struct {
	ctx      context.Context // ends with the caller's or with the budget
	cancel   context.CancelFunc
	caller   context.Context
	cfg      *pgxpool.Config
	settings *option.Settings
	began    time.Time
	log      throttle
	attempts int
	last     error            // the last error that says something about the database
	limits   [3]time.Duration // asked for, in the order of dial.Limits; 0: none, or not known
	yields   [3]bool          // the limit is a default, which does not overrule the server's own
	server   *dial.Server
	refused  bool // PgBouncer did not take the limits
}

// startupKey marks the context of Connect's own connections, which do not belong to the pool.
type startupKey struct{}

func newStartup(ctx context.Context, cfg *pgxpool.Config, s *option.Settings) *startup {
	ctx = context.WithValue(ctx, startupKey{}, true)
	start := &startup{caller: ctx, cfg: cfg, settings: s, log: throttle{logger: s.Logger}, began: time.Now()}
	if s.StartupTimeout > 0 {
		start.ctx, start.cancel = context.WithTimeout(ctx, s.StartupTimeout)
	} else {
		start.ctx, start.cancel = context.WithCancel(ctx)
	}
	return start
}

// waitForDatabase returns nil when a connection has answered, and an error when waiting cannot help
// or time is up.
//
// The loop is not go-retry's own, which returns only ctx's error when ctx ends and drops the
// database's.
func (s *startup) waitForDatabase() error {
	backoff := retry.WithFullJitter(retry.WithCappedDuration(startupCap, retry.NewExponential(startupBase)))
	crowded := retry.WithFullJitter(retry.WithCappedDuration(crowdedCap, retry.NewExponential(startupCap)))
	for {
		if s.ctx.Err() != nil {
			return s.failed()
		}
		s.attempts++
		err := s.probe()
		if err == nil {
			return nil
		}
		if dropLimits(s.cfg, err) {
			s.refused = true
			continue
		}
		if !s.timeIsUp() || s.last == nil {
			s.last = err // otherwise it only says that time was up in the middle of an attempt
		}
		if s.ctx.Err() != nil || !pgerr.Startup(err) {
			return s.failed()
		}
		wait, _ := backoff.Next()
		if pgerr.Of(err) == pgerr.TooManyConnections {
			wait, _ = crowded.Next()
		}
		category := pgerr.Of(err)
		k := kind{message: "database not reachable yet, trying again", code: string(category)}
		s.log.log(s.ctx, slog.LevelWarn, k, func() []slog.Attr {
			attrs := append([]slog.Attr{slog.Int("attempt", s.attempts)}, dial.ErrorAttrs(err)...)
			return append(attrs, slog.Duration("wait", wait.Round(time.Millisecond)))
		})
		_ = dial.Sleep(s.ctx, wait)
	}
}

// timeIsUp looks at the clock as well: a dial has a timer of its own for ctx's deadline, which may
// be ahead of ctx's.
func (s *startup) timeIsUp() bool {
	deadline, limited := s.ctx.Deadline()
	return s.ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// probe makes one connection as the pool would, asks it for an answer and closes it. The answer
// matters behind PgBouncer, which accepts a login while its server is down.
func (s *startup) probe() error {
	ctx, cancel := dial.Budget(s.ctx, s.cfg.ConnConfig)
	defer cancel()
	conn, err := s.connect(ctx, s.cfg.ConnConfig.Copy())
	if err != nil {
		return err
	}
	defer dial.Close(ctx, conn)
	if err := s.cfg.AfterConnect(ctx, conn); err != nil {
		return err
	}
	s.server, err = dial.Ask(ctx, conn)
	if err != nil && !conn.IsClosed() {
		// It answered, if only to say that it is not quite PostgreSQL.
		s.server, err = &dial.Server{}, conn.Ping(ctx)
	}
	return err
}

// connect makes one connection as the pool would.
func (s *startup) connect(ctx context.Context, connConfig *pgx.ConnConfig) (*pgx.Conn, error) {
	if err := s.cfg.BeforeConnect(ctx, connConfig); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, connConfig)
	if err != nil {
		return nil, dial.WithoutPassword(err)
	}
	return conn, nil
}

// checkServer adapts the pool's configuration to what was found, and says what is not as it should
// be.
func (s *startup) checkServer() {
	log, server, cfg := s.settings.Logger, s.server, s.cfg.ConnConfig
	if server.Pooled || s.refused {
		server.Pooled = true
		changed := withoutStatements(cfg)
		if !s.settings.PgBouncer {
			log.WarnContext(s.ctx, "PgBouncer is in front of the database, and the configuration does not say so",
				"prepared_statements", !changed && cfg.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement,
				"hint", "set DATABASE_PGBOUNCER=true, and DIRECT_DATABASE_URL for migrations and LISTEN")
		}
	}
	if !server.Verified {
		return
	}
	if names := s.missingLimits(); len(names) > 0 {
		hint := "something between here and the server, or a hook of the pool, takes them out"
		if server.Pooled {
			hint = "PgBouncer takes them out: set them on the role instead, such as ALTER ROLE app SET " +
				"statement_timeout = '30s'"
		}
		log.WarnContext(s.ctx, "limits are not in effect on the server", "settings",
			strings.Join(names, ", "), "hint", hint)
	}
}

// warm waits until the pool has opened its idle connections, which it does in the background.
func (s *startup) warm(pool *pgxpool.Pool) error {
	want := min(max(s.cfg.MinConns, s.cfg.MinIdleConns), s.cfg.MaxConns)
	tick := time.NewTicker(warmPoll)
	defer tick.Stop()
	for {
		stat := pool.Stat()
		if stat.IdleConns() >= want {
			return nil
		}
		if stat.NewConnsCount() >= int64(want) && stat.TotalConns() < want {
			// All were tried and some failed. The database answered a moment ago, so the pool
			// works; what it lacks it makes on demand and at its next health check.
			s.settings.Logger.WarnContext(s.ctx, "database connected, but not all idle connections could be opened",
				"idle", stat.IdleConns(), "wanted", want)
			return nil
		}
		select {
		case <-s.ctx.Done():
			s.last = fmt.Errorf("opened %d of %d idle connections", stat.IdleConns(), want)
			return s.failed()
		case <-tick.C:
		}
	}
}

// failed makes the error of a Connect that gives up.
func (s *startup) failed() error {
	e := &StartupError{Attempts: s.attempts, Elapsed: time.Since(s.began), Err: s.last}
	switch {
	case s.caller.Err() != nil:
		e.Ended = context.Cause(s.caller)
	case s.ctx.Err() != nil:
		e.Ended = fmt.Errorf("start-up timeout of %s: %w", s.settings.StartupTimeout, s.ctx.Err())
	}
	return e
}

// withoutStatements makes cfg work behind PgBouncer in transaction mode, in every version: before
// 1.21 it knows no named prepared statements, since then only with max_prepared_statements.
// Describing a statement without naming it works in all. An exec mode that the connection string
// asks for, or another than pgx's default, is left alone.
func withoutStatements(cfg *pgx.ConnConfig) bool {
	if cfg.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement || strings.Contains(cfg.ConnString(),
		"default_query_exec_mode") {
		return false
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	cfg.StatementCacheCapacity = 0
	return true
}

// dropLimits takes our settings out of what is sent, if err says that PgBouncer refuses one of
// them.
func dropLimits(cfg *pgxpool.Config, err error) bool {
	name := dial.RefusedSetting(err)
	if _, ok := cfg.ConnConfig.RuntimeParams[name]; !ok || !slices.Contains(dial.Limits[:], name) {
		return false
	}
	for _, name := range dial.Limits {
		delete(cfg.ConnConfig.RuntimeParams, name)
	}
	return true
}
