// Package pgconfig turns environment variables into a validated configuration for pgx.
//
//	cfg, err := pgconfig.Load()
//	if err != nil {
//		log.Fatal(err) // everything that is wrong, no secret in it
//	}
//	pc, err := cfg.PoolConfig() // a plain *pgxpool.Config
//
// [Load] reads DATABASE_URL, or files, libpq's PG* variables, a service and ~/.pgpass, and the
// variables that [Variables] lists; in development also a .env file. [LoadFrom] reads a given map
// and nothing else; [Parse] takes one URL.
//
// Mistakes are found without connecting and returned all at once, as an [*Error] that says what to
// do about each. No secret is in it, nor in [Config.Report], nor in a [Config] however it is
// formatted.
//
// The result is pgx's own: [Config.PoolConfig] for a pool, [Config.ReplicaConfigs] for pools of
// read replicas, [Config.DirectConfig] for a single connection that migrations and LISTEN need.
// Limits on statements are set on the server, when a connection starts, because a limit on the
// client's side costs the connection when it is reached.
//
// APP_ENV chooses the rules. Under those of production, which hold too if it is not set and a
// database is on another machine, a host must be named and TLS must verify the server.
package pgconfig
