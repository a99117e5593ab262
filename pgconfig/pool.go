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
// connection starts, and overrule the settings of the role. Behind PgBouncer only ApplicationName
// is sent, and queries run in pgx.QueryExecModeCacheDescribe, which names no prepared statement;
// default_query_exec_mode in the URL overrules that.
//
// ConnString of the result has no password in it. It is safe to log, but not enough to connect.
//
// Each call returns a new configuration, which the caller may change. The error is an [*Error];
// there is none for a Config that was loaded and not changed since, unless a certificate has gone.
func (c Config) PoolConfig() (*pgxpool.Config, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	return c.poolConfig(r, r.main)
}

// ReplicaConfigs returns the same for each of DATABASE_REPLICA_URLS, in their order, or nil if
// there are none.
func (c Config) ReplicaConfigs() ([]*pgxpool.Config, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	var all []*pgxpool.Config
	for _, replica := range c.Replicas() {
		pc, err := replica.PoolConfig()
		if err != nil {
			return nil, err
		}
		all = append(all, pc)
	}
	return all, nil
}

// DirectConfig returns the configuration of a single connection that does not go through PgBouncer,
// for migrations and LISTEN: to DIRECT_DATABASE_URL, or to DATABASE_URL without one.
//
// StatementTimeout is left out, because a migration may take longer than a query, unless
// DIRECT_DATABASE_URL has the parameter statement_timeout. The other limits are as in
// [Config.PoolConfig], and so is ConnString. The error is an [*Error]: behind PgBouncer
// DIRECT_DATABASE_URL is needed.
func (c Config) DirectConfig() (*pgx.ConnConfig, error) {
	r := c.state()
	if r == nil {
		return nil, notLoaded()
	}
	if !r.hasDirect && c.PgBouncer {
		return nil, problem(r, "DIRECT_DATABASE_URL", "is not set, and DATABASE_URL leads to PgBouncer",
			"set it to the address of the server itself: migrations and LISTEN do not work through PgBouncer")
	}
	c.StatementTimeout, c.PgBouncer = 0, false
	if r.hasDirect {
		c = c.override(r.direct)
	}
	return c.connConfig(r, r.direct)
}

// override applies the parameters of a direct or replica URL. Loading has checked their form.
func (c Config) override(d login) Config {
	for name, p := range d.Limits {
		if v, ok := find(name); ok {
			_ = v.bind(&c).UnmarshalText([]byte(p.Text))
		}
	}
	c.MinIdleConns = min(c.MinIdleConns, c.MaxConns)
	return c
}

func (c Config) poolConfig(r *resolved, d login) (*pgxpool.Config, error) {
	if c.MaxConns < 1 || c.MinIdleConns < 0 || c.MinIdleConns > c.MaxConns {
		return nil, problem(r, "DATABASE_POOL_MAX_CONNS", fmt.Sprintf("is %d with %d idle connections", c.MaxConns,
			c.MinIdleConns),
			"there must be at least 1, and no more idle ones than that")
	}
	pc, err := emptyPool()
	if err != nil {
		return nil, problem(r, d.key, "cannot be used: "+err.Error(), "")
	}
	if pc.ConnConfig, err = c.connConfig(r, d); err != nil {
		return nil, err
	}
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = c.MaxConns, 0, c.MinIdleConns
	pc.MaxConnLifetime = orForever(c.MaxConnLifetime)
	pc.MaxConnLifetimeJitter = max(c.MaxConnLifetimeJitter, 0)
	pc.MaxConnIdleTime = orForever(c.MaxConnIdleTime)
	pc.PingTimeout = max(c.PingTimeout, 0)
	return pc, nil
}

func (c Config) connConfig(r *resolved, d login) (*pgx.ConnConfig, error) {
	cc, err := connConfig(d.DSN)
	if err != nil {
		return nil, problem(r, d.key, "cannot be used",
			"a file that it names was there when it was loaded and is not any more")
	}
	if c.ApplicationName != "" {
		cc.RuntimeParams["application_name"] = c.ApplicationName
	}
	cc.ConnectTimeout = max(c.ConnectTimeout, 0)
	c.keepAlive().Apply(cc)
	if c.PgBouncer {
		if _, chosen := d.Params["default_query_exec_mode"]; !chosen {
			cc.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
			cc.StatementCacheCapacity = 0
		}
		return cc, nil
	}
	// The limits are always sent, even 0: off overrides the settings of the role and the server.
	cc.RuntimeParams["statement_timeout"] = milliseconds(c.StatementTimeout)
	cc.RuntimeParams["lock_timeout"] = milliseconds(c.LockTimeout)
	cc.RuntimeParams["idle_in_transaction_session_timeout"] = milliseconds(c.IdleInTransactionTimeout)
	return cc, nil
}

// milliseconds returns the server's notation. It rounds up, because a limit of 500µs must not
// become 0, which means no limit.
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
	return &Error{Problems: []Problem{{
		Key: "Config", Detail: "is empty",
		Hint: "make it with Load, LoadFrom or Parse",
	}}}
}

func problem(r *resolved, key, detail, hint string) error {
	return &Error{Problems: []Problem{{Key: addPrefix(r.prefix, key), Detail: detail, Hint: hint}}}
}
