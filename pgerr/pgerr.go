// Package pgerr classifies the errors that pgx, the network, TLS, a context or a PostgreSQL server
// return.
//
// It answers three questions, each from the error alone:
//
//   - [Of]: what kind of failure is this? Good for metrics, health answers and for choosing what to
//     tell a user.
//   - [Retryable]: is it of a kind that goes away when the whole transaction runs again?
//   - [Startup]: is it worth waiting for while a service starts?
//
// Errors of other packages take part by methods, without importing this one except for the type:
//
//	func (e *MyError) Category() pgerr.Category // what Of answers, unless it is ""
//	func (e *MyError) Retryable() bool          // what Retryable answers
//
// An error may have either or both; the outermost one in a chain decides.
//
// The functions assume that an error came from working with a database. An error of, say, an HTTP
// request made inside a transaction has the same network errors in it and is classified like them.
//
// pgconn.SafeToRetry is not consulted: it is true for a connection that died after COMMIT was sent.
//
// All functions are safe for concurrent use and never block. They read nothing but the error.
package pgerr

// Of returns the category of err: "" for nil and [Unknown] for an error it does not know.
//
// An error in err's chain that has a method Category() Category decides, unless it returns "". In a
// *pgconn.ConnectError that holds one error for each address tried, the attempt that came furthest
// decides: a wrong password outranks a refused connection. In any other error that wraps several
// (errors.Join), the first one with a known category does, because it is usually the cause of the
// others.
func Of(err error) Category {
	if err == nil {
		return ""
	}
	return judge(err, false).category
}

// Retryable reports whether the whole transaction, never only its last statement, may run again
// after err: the failure is of a kind that goes away by itself, and it left nothing of the
// transaction behind, provided that COMMIT had not been sent when it occurred.
//
// That condition is the caller's to know. A connection that broke before COMMIT was sent and one
// that broke after it return the same error; after it the transaction may have been committed, and
// running it again may apply it twice. The same goes for a statement outside a transaction, which
// commits itself. Once COMMIT has been sent, only an error from the server that is not FATAL says
// that nothing was committed, whatever Retryable says.
//
// It is true for serialization failures (40001) and deadlocks (40P01); for a server that shuts
// down, crashes or starts (57P01, 57P02, 57P03, 57P05) or has no connection slot left (53300); for
// a connection that broke; and for a connection that could not be made for a reason for which
// [Startup] is true, because then nothing was begun.
//
// It is false for nil, for everything else (constraints, syntax, permissions, 55P03 lock timeouts,
// 57014 cancelled statements, a busy pool), and whenever context.Canceled is in err's chain.
// context.DeadlineExceeded makes it false too, except in a *pgconn.ConnectError, where it may be
// the limit on one attempt: check ctx.Err() before running anything again.
//
// An error in err's chain that has a method Retryable() bool decides. Of several joined errors at
// least one must be retryable and none of the others may have a known category that is not.
func Retryable(err error) bool {
	return err != nil && judge(err, false).retry == yes
}

// Startup reports whether err is worth waiting for while a service starts, because the database may
// just not be there yet: nothing listens, the name does not resolve, the attempt timed out or the
// connection broke, the server is starting up or shutting down or has no connection slot left, or
// it is not the server that target_session_attrs asks for (a failover is going on).
//
// It is false for nil, for what only a person can repair (wrong password, unknown role or database,
// missing permission, unknown setting, a certificate that does not verify), for context.Canceled
// and for errors it does not know. Of several addresses tried, one that failed for such a reason
// makes it false.
//
// It says nothing about how long to wait, and it knows no context: context.DeadlineExceeded counts
// as a timed out attempt, so check your own ctx.Err() as well.
func Startup(err error) bool {
	return err != nil && judge(err, false).wait == yes
}
