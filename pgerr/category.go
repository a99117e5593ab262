package pgerr

// Category is what kind of failure an error is. Its text is stable: it may be used as a metric's
// label.
type Category string

// Reaching a server.
const (
	// Config: the configuration cannot work: an unparsable connection string, a database that does
	// not exist (3D000), a startup setting the server does not know (42704 while connecting).
	Config Category = "config"
	// Auth: the server does not accept who we say we are: class 28, or a failed SASL exchange.
	Auth Category = "auth"
	// Permission: logged in, but not allowed to do that (42501).
	Permission Category = "permission"
	// DNS: the host name could not be resolved.
	DNS Category = "dns"
	// Refused: nothing listens at that address, it cannot be reached, or PgBouncer says so of the
	// server behind it.
	Refused Category = "refused"
	// TLS: the handshake failed: certificate, host name, protocol version, or no TLS on the other
	// side.
	TLS Category = "tls"
	// WrongServer: a healthy server, but not a standby, which target_session_attrs asks for. A
	// standby where a primary is asked for is ReadOnly.
	WrongServer Category = "wrong_server"
	// StartingUp: the server is there but does not accept connections yet (57P03).
	StartingUp Category = "starting_up"
	// TooManyConnections: the server, or PgBouncer, has no connection slot left (53300).
	TooManyConnections Category = "too_many_connections"
	// Saturated: the pool on our side, or PgBouncer's, had no free connection in time.
	Saturated Category = "saturated"
)

// Losing or giving up a connection.
const (
	// Connection: an established connection broke: reset, end of file, closed, class 08.
	Connection Category = "connection"
	// Shutdown: the server ended the session because it shuts down or crashed (57P01, 57P02).
	Shutdown Category = "shutdown"
	// Timeout: a limit ran out: ours (context.DeadlineExceeded) or the server's (57014 by
	// statement_timeout, 25P03, 25P04).
	Timeout Category = "timeout"
	// Canceled: somebody gave up: context.Canceled, 57014 by request, a closed pool.
	Canceled Category = "canceled"
	// CommitUnknown: whether the transaction was committed cannot be told (08007, 40003).
	CommitUnknown Category = "commit_unknown"
)

// Answers to a statement.
const (
	// ReadOnly: a write reached a server or transaction that only reads (25006): a standby, or a
	// primary demoted since.
	ReadOnly Category = "read_only"
	// Serialization: a concurrent transaction was in the way (40001).
	Serialization Category = "serialization"
	// Deadlock: this transaction was chosen to resolve a deadlock (40P01).
	Deadlock Category = "deadlock"
	// LockTimeout: a lock was not free within lock_timeout, or at once with NOWAIT (55P03).
	LockTimeout Category = "lock_timeout"
	// Constraint: the data breaks a constraint (class 23, 40002, 44000).
	Constraint Category = "constraint"
	// Data: a value does not fit its type or function (class 22, 21000): out of range, not a date,
	// division by zero.
	Data Category = "data"
	// Raised: a function or trigger raised an error of its own (class P0 without P0002).
	Raised Category = "raised"
	// Statement: the statement is wrong, does not fit the schema, or not the state of the
	// transaction (classes 42, 0A, 25, 26, 34, 3F, 54 and others).
	Statement Category = "statement"
	// NotFound: no row where one was expected (pgx.ErrNoRows, sql.ErrNoRows, P0002).
	NotFound Category = "not_found"
	// Resource: the server ran out of disk, memory or another resource (class 53 without 53300).
	Resource Category = "resource"
	// Internal: something is broken inside the server (classes 58, XX, F0).
	Internal Category = "internal"
	// Unknown: none of the above.
	Unknown Category = "unknown"
)
