package pgconfig

import (
	"time"
)

// Config is a validated configuration of one PostgreSQL database.
//
// It comes from [Load], [LoadFrom] or [Parse]. The exported fields are limits and switches that a
// program may still change before it calls [Config.PoolConfig]; where the database is and how to
// log in is not among them, so that it cannot drift from what was validated: see [Config.URL].
//
// A duration of 0 switches that limit off. Durations are rounded up to the millisecond where they
// are sent to the server.
//
// Config holds no secret in a field. It may be printed with any verb, logged with slog and encoded
// as JSON: the connection is shown with its password masked (fmt and slog) or left out (JSON, gob).
// A Config is a value: copying it is safe, and so is reading one from several goroutines. The zero
// Config is usable for printing only.
type Config struct {
	// Environment is where the program runs, never empty after loading. Its rules have been applied
	// then: changing it changes nothing.
	Environment Environment

	// ApplicationName is what pg_stat_activity and the server's log call this program. Empty: none
	// is sent.
	ApplicationName string

	// MaxConns is the most connections the pool holds, 1 or more. Every instance of the service has
	// as many.
	MaxConns int32
	// MinIdleConns is how many idle connections the pool keeps ready, 0 to MaxConns.
	MinIdleConns int32
	// MaxConnLifetime is the age after which a connection is replaced.
	MaxConnLifetime time.Duration
	// MaxConnLifetimeJitter is added to MaxConnLifetime, at random from 0 to this, per connection.
	// pgxpool drops fractions of a second.
	MaxConnLifetimeJitter time.Duration
	// MaxConnIdleTime is how long a connection may lie idle before it is closed.
	MaxConnIdleTime time.Duration
	// PingTimeout limits the check of a connection that was idle for more than a second before it
	// is handed out.
	PingTimeout time.Duration

	// AcquireTimeout is how long a caller waits for a free connection. pgpool applies it; pgxpool
	// has no such limit.
	AcquireTimeout time.Duration
	// ConnectTimeout limits one attempt to connect to one host, TLS and login included. Off means
	// two minutes in a pool, because pgxpool insists on a limit, and no limit on a single
	// connection.
	ConnectTimeout time.Duration
	// StartupTimeout is how long pgpool.Connect keeps trying to reach a database that is not there
	// yet.
	StartupTimeout time.Duration

	// StatementTimeout is the server's statement_timeout.
	StatementTimeout time.Duration
	// LockTimeout is the server's lock_timeout.
	LockTimeout time.Duration
	// IdleInTransactionTimeout is the server's idle_in_transaction_session_timeout.
	IdleInTransactionTimeout time.Duration

	// SlowQuery is the duration from which pgpool logs a query as slow.
	SlowQuery time.Duration
	// LeakThreshold is how long a connection may be held before pgpool reports it as leaked.
	LeakThreshold time.Duration

	// KeepAliveIdle is how long a connection is silent before TCP sends the first keepalive probe.
	// Off: no keepalive.
	KeepAliveIdle time.Duration
	// KeepAliveInterval is the time between two unanswered keepalive probes. Off: 15 s.
	KeepAliveInterval time.Duration
	// KeepAliveCount is how many unanswered probes end the connection.
	KeepAliveCount int32
	// TCPUserTimeout is how long sent data may stay unacknowledged before the connection is given
	// up. Linux only; without it a peer that vanished holds a query for about 15 minutes.
	TCPUserTimeout time.Duration

	// MaxReplicaLag is how far a replica may be behind before reads leave it.
	MaxReplicaLag time.Duration

	// PgBouncer says that DATABASE_URL leads to PgBouncer in transaction mode: prepared statements
	// are then not named, and no session setting is sent, because PgBouncer refuses it or leaks it
	// to the next client. DIRECT_DATABASE_URL is not affected.
	PgBouncer bool
	// AllowInsecureTLS says that the rules of production accepted a connection that is not
	// encrypted or not verified. They have been applied when loading: changing it changes nothing.
	AllowInsecureTLS bool

	// resolved is a function and no pointer, so that neither fmt nor a dumper that walks unexported
	// fields by reflection (go-spew in failed testify assertions, for one) can reach the secrets
	// behind it. nil: not loaded.
	resolved func() *resolved
}
