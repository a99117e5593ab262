// Package pgpool connects a service to PostgreSQL. It turns a configuration into a connected
// [*pgxpool.Pool], waits for a database that starts late, gives up at once where waiting cannot
// help, and limits how long a caller waits for a connection.
//
//	cfg, err := pgconfig.Load()
//	...
//	pool, err := pgpool.Connect(ctx, cfg)
//	...
//	defer pgpool.Shutdown(ctx, pool)
//
// [Holders] says who holds connections, and leaks are reported. The pool leaves a server that
// became read-only. [Shutdown] ends it within a limit. Package listen is for NOTIFY, package
// replica for reading from standbys.
//
// The pool is pgx's own. This package uses pgx's documented hooks, so the pool works with sqlc,
// River, scany and everything else that takes one. [ConnectConfig] does the same for a
// [*pgxpool.Config] that was made elsewhere. A pool that another program makes from the Config of
// this one is left alone.
//
// The errors are [*StartupError], [*AcquireError] and [*ShutdownError]. Each says what to do.
// Everything here is safe for concurrent use.
package pgpool
