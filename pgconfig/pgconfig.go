// Package pgconfig turns environment variables into a validated configuration for pgx.
//
//	cfg, err := pgconfig.Load()
//	if err != nil {
//		log.Fatal(err) // everything that is wrong, no secret in it
//	}
//	pc, err := cfg.PoolConfig() // a plain *pgxpool.Config
//
// [Load] reads DATABASE_URL or files, libpq's PG* variables, a service and ~/.pgpass, and the
// variables that [Variables] lists. In development it reads a .env file too. [LoadFrom] reads a
// given map and nothing else. [Parse] takes one URL.
//
// An input that is accepted has an effect, a note in [Config.Report], or an error. Mistakes are
// found without connecting and returned all at once, as an [*Error] that says what to do about
// each. No secret is in it, in the report, or in a [Config], however it is formatted.
//
// The result is pgx's own: [Config.PoolConfig] for a pool, [Config.ReplicaConfigs] for pools of
// read replicas, [Config.DirectConfig] for a single connection that migrations and LISTEN need.
// Limits on statements are set on the server when a connection starts, because reaching a limit of
// the client costs the connection.
//
// APP_ENV chooses the rules. Without it the rules of production hold: a host must be named, and TLS
// must verify a server on another machine.
package pgconfig
