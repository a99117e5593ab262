// Package pgerr classifies the errors that pgx, the network, TLS, a context, a PostgreSQL server or
// a pooler returns.
//
// It answers three questions, each from the error alone:
//
//   - [Of]: what kind of failure is this? Use it for metrics, health answers, and for choosing what
//     to tell a user.
//   - [Retryable]: is it of a kind that goes away when the whole transaction runs again?
//   - [Startup]: is it worth waiting for while a service starts?
//
// Errors of other packages join in with methods:
//
//	func (e *MyError) Category() pgerr.Category // what Of answers, unless it is ""
//	func (e *MyError) Retryable() bool          // what Retryable answers
//
// An error may have either or both. The outermost error of a chain that has a method decides.
//
// The functions assume that an error came from working with a database. An error of an HTTP request
// made inside a transaction wraps the same network errors and is classified like them.
//
// The package does not ask pgconn.SafeToRetry, which is true for a connection that died after
// COMMIT was sent.
//
// All functions are safe for concurrent use and never block. They read nothing but the error.
package pgerr

// Of returns the category of err. It is "" for nil and [Unknown] for an error that Of does not
// know.
//
// If an error in err's chain has a method Category() Category, its answer decides, unless it is "".
//
// A *pgconn.ConnectError holds one error for each address tried. The attempt that got furthest
// decides: a wrong password outranks a refused connection. In any other error that wraps several
// (errors.Join), the first known one decides, because it usually caused the others. An error that
// only follows from another one (25P02, a failed transaction) has no say.
func Of(err error) Category {
	if err == nil {
		return ""
	}
	return judge(err, false).category
}

// Retryable reports whether the whole transaction may run again after err. It never means only the
// last statement. If it is true, the failure is of a kind that goes away. It left nothing of the
// transaction behind, provided that COMMIT had not been sent yet.
//
// The caller has to know whether COMMIT was sent. A connection returns the same error whether it
// breaks before COMMIT or after. After COMMIT the transaction may have been committed, and running
// it again may apply it twice. The same goes for a statement outside a transaction, which commits
// on its own.
//
// Once COMMIT was sent, only an error from the server that is not FATAL proves that nothing was
// committed, whatever Retryable says.
//
// Retryable is true for serialization failures (40001) and deadlocks (40P01), for a server that
// shuts down, crashes or starts (57P01, 57P02, 57P03, 57P05) or has no connection slot left
// (53300), and for a connection that broke. It is true for a statement that has to be prepared
// again (26000, and 0A000 or 08P01 after a table changed). It is true for a failed attempt to
// connect for which [Startup] is true, because no transaction had begun.
//
// It is false for nil and for everything else: constraints, syntax, permissions, 55P03 lock
// timeouts, 57014 canceled statements, a busy pool. It is false whenever context.Canceled is in
// err's chain. context.DeadlineExceeded makes it false too, except in a *pgconn.ConnectError, where
// it may be the limit on one attempt: check ctx.Err() before you run anything again.
//
// If an error in err's chain has a method Retryable() bool, its answer decides. Joined errors are
// retryable if at least one of them is and no other known one says no.
func Retryable(err error) bool {
	return err != nil && judge(err, false).retry == yes
}

// Startup reports whether err is worth waiting for while a service starts, because the database may
// not be there yet. It is true if nothing listens, the name does not resolve, the attempt timed
// out, the connection broke, or the server is starting up, is shutting down or has no connection
// slot left. It is also true if the server does not have the role that target_session_attrs asks
// for, or if a replica lags: a failover may be under way.
//
// It is false for nil, for problems that only a person can fix (wrong password, unknown role or
// database, missing permission, refused setting, a certificate that does not verify), for
// context.Canceled, and for unknown errors. If several addresses were tried, one that failed for
// such a reason makes it false.
//
// Startup does not say how long to wait. context.DeadlineExceeded counts as an attempt that timed
// out, so check your own ctx.Err() as well.
func Startup(err error) bool {
	return err != nil && judge(err, false).wait == yes
}
