package pgconfig

import (
	"time"
)

// Config is a validated configuration of one PostgreSQL database.
//
// It comes from [Load], [LoadFrom] or [Parse]. The exported fields are limits and switches. A
// program may change them before it calls [Config.PoolConfig]. The address and the login are not
// among them, so that they stay as they were validated: see [Config.URL].
//
// A duration of 0 switches that limit off. Durations are rounded up to the millisecond where they
// are sent to the server.
//
// Config holds no secret in a field. It may be printed with any verb, logged with slog and encoded
// as JSON. The connection is then shown with its password masked (fmt and slog) or left out (JSON,
// gob).
//
// A Config is a value: copying it is safe, and so is reading one from several goroutines. The zero
// Config is usable for printing only.
type Config struct {
	// Environment is where the program runs. It is never empty after loading. Loading has applied
	// its rules, so a change has no effect.
	Environment Environment

	// ApplicationName is the program's name in pg_stat_activity and in the server's log. Empty:
	// none is sent.
	ApplicationName string

	// MaxConns is the most connections the pool holds, 1 or more. Each instance of the service has
	// its own pool.
	MaxConns int32
	// MinIdleConns is the number of idle connections that the pool keeps ready, 0 to MaxConns.
	MinIdleConns int32
	// MaxConnLifetime is the age after which a connection is replaced.
	MaxConnLifetime time.Duration
	// MaxConnLifetimeJitter is the most that is added to MaxConnLifetime, at random for each
	// connection. pgxpool drops fractions of a second.
	MaxConnLifetimeJitter time.Duration
	// MaxConnIdleTime limits how long a connection may be idle before it is closed.
	MaxConnIdleTime time.Duration
	// PingTimeout limits the check of a connection that was idle for more than a second before it
	// is handed out.
	PingTimeout time.Duration

	// AcquireTimeout limits how long a caller waits for a free connection. pgpool applies it;
	// pgxpool has no such limit.
	AcquireTimeout time.Duration
	// ConnectTimeout limits one attempt to connect to one host, TLS and login included. Off means
	// two minutes in a pool, because pgxpool insists on a limit, and no limit on a single
	// connection.
	ConnectTimeout time.Duration
	// StartupTimeout limits how long pgpool.Connect keeps trying to reach a database that is not
	// there yet.
	StartupTimeout time.Duration

	// StatementTimeout is the server's statement_timeout.
	StatementTimeout time.Duration
	// LockTimeout is the server's lock_timeout.
	LockTimeout time.Duration
	// IdleInTransactionTimeout is the server's idle_in_transaction_session_timeout.
	IdleInTransactionTimeout time.Duration

	// SlowQuery is the duration from which pgpool logs a query as slow.
	SlowQuery time.Duration
	// LeakThreshold is the time after which pgpool reports a connection that is still held as
	// leaked.
	LeakThreshold time.Duration

	// KeepAliveIdle is the silence after which TCP sends the first keepalive probe. Off: no
	// keepalive.
	KeepAliveIdle time.Duration
	// KeepAliveInterval is the time between two unanswered keepalive probes. Off: 15 s.
	KeepAliveInterval time.Duration
	// KeepAliveCount is the number of unanswered probes that ends the connection.
	KeepAliveCount int32
	// TCPUserTimeout limits how long sent data may stay unacknowledged. Linux only. Without it a
	// query to a peer that vanished waits about 15 minutes.
	TCPUserTimeout time.Duration

	// MaxReplicaLag limits how far a replica may be behind before reads go elsewhere.
	MaxReplicaLag time.Duration

	// PgBouncer says that DATABASE_URL leads to PgBouncer in transaction mode. Prepared statements
	// then have no names. No session setting is sent, because PgBouncer refuses it or leaks it to
	// the next client. DIRECT_DATABASE_URL is not affected.
	PgBouncer bool
	// AllowInsecureTLS says that the rules of production accept a connection that is not encrypted
	// or not verified. Loading has applied them, so a change has no effect.
	AllowInsecureTLS bool

	// resolved is a function instead of a pointer. Neither fmt nor a dumper that walks unexported
	// fields by reflection (go-spew in failed testify assertions) can reach the secrets behind it.
	// nil: not loaded.
	resolved func() *resolved
}
