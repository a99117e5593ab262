package pgconfig

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// forever stands for "no limit" where pgxpool takes 0 for "at once". It is a century, short enough
// to be added to a time.
const forever = 100 * 365 * 24 * time.Hour

// PoolConfig returns a configuration for pgxpool with everything in c applied except what pgxpool
// does not know: AcquireTimeout, StartupTimeout, SlowQuery, LeakThreshold and MaxReplicaLag, which
// pgpool applies.
//
// StatementTimeout, LockTimeout, IdleInTransactionTimeout and ApplicationName are sent when a
// connection starts. Behind PgBouncer only ApplicationName is, and queries run in
// pgx.QueryExecModeCacheDescribe, which names no prepared statement; default_query_exec_mode in the
// URL overrides that.
//
// ConnString of the result has no password in it, so it cannot be logged by mistake and does not
// connect by itself.
//
// Each call returns a new configuration, the caller's to change. The error is an [*Error]; there is
// none for a Config that was loaded and not changed since.
func (c Config) PoolConfig() (*pgxpool.Config, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	return c.poolConfig("DATABASE_URL", r, r.main)
}

// ReplicaConfigs returns the same for each of DATABASE_REPLICA_URLS, in their order, or nil if
// there are none.
func (c Config) ReplicaConfigs() ([]*pgxpool.Config, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	var all []*pgxpool.Config
	for _, d := range r.replicas {
		pc, err := c.poolConfig("DATABASE_REPLICA_URLS", r, d)
		if err != nil {
			return nil, err
		}
		all = append(all, pc)
	}
	return all, nil
}

// DirectConfig returns the configuration of a single connection that does not go through PgBouncer,
// for migrations and LISTEN: to DIRECT_DATABASE_URL, or to DATABASE_URL without one.
// StatementTimeout is left out, because a migration may take longer than a query; the other limits
// are as in [Config.PoolConfig], and so is what is said there about ConnString. The error is an
// [*Error]: behind PgBouncer DIRECT_DATABASE_URL is needed.
func (c Config) DirectConfig() (*pgx.ConnConfig, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	key := "DIRECT_DATABASE_URL"
	if !r.hasDirect {
		if c.PgBouncer {
			return nil, problem(r, key, "is not set, and DATABASE_URL leads to PgBouncer",
				"set it to the address of the server itself: migrations and LISTEN do not work through PgBouncer")
		}
		key = "DATABASE_URL"
	}
	c.StatementTimeout, c.PgBouncer = 0, false
	return c.connConfig(key, r, r.direct)
}

func (c Config) poolConfig(key string, r *resolved, d dsn) (*pgxpool.Config, error) {
	if c.MaxConns < 1 || c.MinIdleConns < 0 || c.MinIdleConns > c.MaxConns {
		return nil, problem(r, "DATABASE_POOL_MAX_CONNS", fmt.Sprintf("is %d with %d idle connections", c.MaxConns, c.MinIdleConns),
			"there must be at least 1, and no more idle ones than that")
	}
	pc, err := emptyPool()
	if err != nil {
		return nil, problem(r, key, "cannot be used: "+err.Error(), "")
	}
	if pc.ConnConfig, err = c.connConfig(key, r, d); err != nil {
		return nil, err
	}
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = c.MaxConns, 0, c.MinIdleConns
	pc.MaxConnLifetime = orForever(c.MaxConnLifetime)
	pc.MaxConnLifetimeJitter = max(c.MaxConnLifetimeJitter, 0)
	pc.MaxConnIdleTime = orForever(c.MaxConnIdleTime)
	pc.PingTimeout = max(c.PingTimeout, 0)
	return pc, nil
}

func (c Config) connConfig(key string, r *resolved, d dsn) (*pgx.ConnConfig, error) {
	cc, err := d.connConfig()
	if err != nil {
		return nil, problem(r, key, "cannot be used", "a file that it names was there when it was loaded and is not any more")
	}
	if c.ApplicationName != "" {
		cc.RuntimeParams["application_name"] = c.ApplicationName
	}
	cc.ConnectTimeout = max(c.ConnectTimeout, 0)
	cc.DialFunc = c.dialer().DialContext
	if c.PgBouncer {
		if _, chosen := d.params["default_query_exec_mode"]; !chosen {
			cc.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
			cc.StatementCacheCapacity = 0
		}
		return cc, nil
	}
	// The limits are always sent, 0 too: off means off, whatever the role's or the server's own
	// setting is.
	cc.RuntimeParams["statement_timeout"] = milliseconds(c.StatementTimeout)
	cc.RuntimeParams["lock_timeout"] = milliseconds(c.LockTimeout)
	cc.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(c.IdleInTransactionTimeout)
	return cc, nil
}

// milliseconds is the server's notation, rounded up: a limit of 500µs must not become 0, which is
// none.
func milliseconds(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return strconv.FormatInt(min(int64((d+time.Millisecond-1)/time.Millisecond), math.MaxInt32), 10)
}

func orForever(d time.Duration) time.Duration {
	if d <= 0 {
		return forever
	}
	return d
}

func notLoaded() error {
	return &Error{Problems: []Problem{{Key: "Config", Detail: "is empty", Hint: "make it with Load, LoadFrom or Parse"}}}
}

func problem(r *resolved, key, detail, hint string) error {
	return &Error{Problems: []Problem{{Key: prefixed(r.prefix, key), Detail: detail, Hint: hint}}}
}
