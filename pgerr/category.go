package pgerr

// Category names the kind of failure. The text is stable, so it may be used as a metric label.
type Category string

// Failures to reach a server.
const (
	// Config: the configuration cannot work. The connection string does not parse, the database
	// does not exist (3D000), or the server refuses a startup setting (42704, 22023, 42601 or
	// 55P02 while connecting).
	Config Category = "config"
	// Auth: the server does not accept the user: class 28, or a failed SASL exchange.
	Auth Category = "auth"
	// Permission: the user is logged in but may not do that (42501), or this machine does not let
	// the process reach the address.
	Permission Category = "permission"
	// DNS: the host name does not resolve.
	DNS Category = "dns"
	// Refused: nothing listens at the address, the address cannot be reached, or a pooler cannot
	// reach the server behind it.
	Refused Category = "refused"
	// TLS: the handshake failed. The cause is a certificate, a host name, a protocol version, or a
	// side that does not use TLS.
	TLS Category = "tls"
	// WrongServer: the server is healthy but not the standby that target_session_attrs asks for. A
	// standby in place of a primary is ReadOnly.
	WrongServer Category = "wrong_server"
	// Lagging: a replica is too far behind the primary. No server reports it; the package that
	// measures the lag states it.
	Lagging Category = "lagging"
	// StartingUp: the server does not accept connections yet (57P03).
	StartingUp Category = "starting_up"
	// TooManyConnections: the server or a pooler has no connection slot left (53300).
	TooManyConnections Category = "too_many_connections"
	// Saturated: the pool in this process, or a pooler's, had no free connection in time.
	Saturated Category = "saturated"
)

// Failures of an established connection, and work that was given up.
const (
	// Connection: the connection broke: reset, end of file, closed, class 08.
	Connection Category = "connection"
	// Shutdown: the server ended the session because it shuts down or crashed (57P01, 57P02).
	Shutdown Category = "shutdown"
	// Timeout: a limit ran out. It is the caller's (context.DeadlineExceeded), the server's (57014
	// by statement_timeout, 25P03, 25P04) or a pooler's.
	Timeout Category = "timeout"
	// Canceled: the client or an operator gave up: context.Canceled, 57014 on request, 57000, a
	// COPY with a failed source, a closed pool.
	Canceled Category = "canceled"
	// CommitUnknown: the transaction may or may not have been committed (08007, 40003).
	CommitUnknown Category = "commit_unknown"
)

// Answers to a statement.
const (
	// ReadOnly: a write reached a read-only server or transaction (25006). The server is a standby,
	// or it was demoted.
	ReadOnly Category = "read_only"
	// Serialization: a concurrent transaction conflicts with this one (40001, 40000).
	Serialization Category = "serialization"
	// Deadlock: the server ended this transaction to resolve a deadlock (40P01).
	Deadlock Category = "deadlock"
	// LockTimeout: a lock was not free within lock_timeout, or at once with NOWAIT (55P03).
	LockTimeout Category = "lock_timeout"
	// Constraint: the data violates a constraint (class 23, 40002, 44000).
	Constraint Category = "constraint"
	// Data: a value does not fit its type or function (classes 20, 21 and 22).
	Data Category = "data"
	// Raised: a function or trigger raised an error of its own (class P0 without P0002).
	Raised Category = "raised"
	// Statement: the statement is wrong, or does not fit the schema or the state of the transaction
	// (classes 42, 0A, 25, 26, 34, 3F, 54 and others; 08P01 that the server reports itself).
	Statement Category = "statement"
	// NotFound: no row where one was expected (pgx.ErrNoRows, sql.ErrNoRows, P0002).
	NotFound Category = "not_found"
	// Resource: the server ran out of disk, memory or another resource (class 53 without 53300), or
	// this process has no file descriptor left for a connection.
	Resource Category = "resource"
	// Internal: something is broken inside the server (classes 58, XX, F0), or a server behind it
	// failed (HV; class 08 or 57P in an error that does not end the session).
	Internal Category = "internal"
	// Unknown: none of the above.
	Unknown Category = "unknown"
)
