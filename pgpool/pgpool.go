// Package pgpool connects a service to PostgreSQL: it turns a configuration into a connected
// [*pgxpool.Pool] that waits for a database which starts late, gives up at once where waiting
// cannot help, and fails an acquire in time instead of letting it wait for ever.
//
//	cfg, err := pgconfig.Load()
//	...
//	pool, err := pgpool.Connect(ctx, cfg)
//	...
//	defer pgpool.Shutdown(ctx, pool)
//
// It also says who holds connections ([Holders]) and reports leaks, leaves a server that became
// read-only, checks what the server made of the limits that were asked for, and ends within a limit
// ([Shutdown]). Package listen is for NOTIFY.
//
// The pool is pgx's own. What this package adds rides on pgx's hooks, so the pool works with sqlc,
// River, scany and everything else that takes one. [ConnectConfig] does the same for a
// [*pgxpool.Config] made elsewhere.
//
// A database that cannot be reached is a [*StartupError], a connection that is not free in time an
// [*AcquireError], and one that is left at the end a [*ShutdownError]; each says what to do.
// Everything here is safe for concurrent use.
package pgpool
