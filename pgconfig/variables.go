package pgconfig

import "reflect"

// variables is the one declaration of every variable. Its tags make the loader, the report, the
// table in README.md and example.env:
//
//	env          the name; the prefix goes before those that begin with DATABASE_ or DIRECT_
//	section      begins a group
//	default      the default under the rules of production
//	development  the default in development and test, if it is another
//	example      a value to show where there is no default
//	doc          what it is for, as Markdown without line breaks
//
// A variable that is set to nothing counts as not set.
type variables struct {
	Environment Environment `env:"APP_ENV" section:"Environment" example:"development" doc:"Where the program runs: development, test, staging or production. Unset: production, unless every database is on this machine, then development. It chooses the defaults below, the rules on TLS and whether .env is read."`

	URL          Secret `env:"DATABASE_URL" section:"Where the database is" example:"postgres://app:secret@localhost:5432/app" doc:"The database: a URL (postgres:// or postgresql://, several hosts allowed) or libpq's keyword=value form. Special characters in the password are percent-encoded: @ is %40, / is %2F. What it leaves out is taken from PGHOST, PGUSER and the other PG* variables, PGSERVICE and the pass file."`
	URLFile      string `env:"DATABASE_URL_FILE" example:"/run/secrets/database_url" doc:"A file that holds DATABASE_URL, such as a Docker or Kubernetes secret. Not together with DATABASE_URL."`
	PasswordFile string `env:"DATABASE_PASSWORD_FILE" example:"/run/secrets/database_password" doc:"A file that holds the password only. Not together with a password in DATABASE_URL. It counts for the direct and replica URLs too where they name none."`
	Direct       Secret `env:"DIRECT_DATABASE_URL" example:"postgres://app:secret@localhost:5432/app" doc:"The same database without PgBouncer in between, for migrations and LISTEN. Unset: DATABASE_URL, unless DATABASE_PGBOUNCER is on."`
	Replicas     Secret `env:"DATABASE_REPLICA_URLS" example:"postgres://app:secret@replica1/app,postgres://app:secret@replica2/app" doc:"Read replicas, separated by commas. What a URL leaves out is taken from PG* as for DATABASE_URL."`

	MaxConns              count `env:"DATABASE_POOL_MAX_CONNS" section:"Pool" default:"10" development:"4" doc:"The most connections this instance holds. Times the number of instances it must stay below the server's max_connections."`
	MinIdleConns          count `env:"DATABASE_POOL_MIN_IDLE_CONNS" default:"2" development:"0" doc:"Idle connections kept ready."`
	MaxConnLifetime       limit `env:"DATABASE_POOL_MAX_CONN_LIFETIME" default:"30m" doc:"Age after which a connection is replaced."`
	MaxConnLifetimeJitter limit `env:"DATABASE_POOL_MAX_CONN_LIFETIME_JITTER" default:"3m" doc:"Added to that age at random, so that connections are not all replaced at once. Whole seconds."`
	MaxConnIdleTime       limit `env:"DATABASE_POOL_MAX_CONN_IDLE_TIME" default:"10m" doc:"How long a connection may lie idle before it is closed."`
	PingTimeout           limit `env:"DATABASE_POOL_PING_TIMEOUT" default:"2s" doc:"Limit on the check of a connection that was idle before it is handed out."`

	AcquireTimeout           limit `env:"DATABASE_ACQUIRE_TIMEOUT" section:"Limits" default:"5s" doc:"How long a caller waits for a free connection."`
	ConnectTimeout           limit `env:"DATABASE_CONNECT_TIMEOUT" default:"5s" doc:"Limit on one attempt to connect to one host, TLS and login included."`
	StartupTimeout           limit `env:"DATABASE_STARTUP_TIMEOUT" default:"60s" development:"15s" doc:"How long a starting program waits for a database that is not there yet."`
	StatementTimeout         limit `env:"DATABASE_STATEMENT_TIMEOUT" default:"30s" development:"60s" doc:"The server's statement_timeout. Not for migrations and LISTEN."`
	LockTimeout              limit `env:"DATABASE_LOCK_TIMEOUT" default:"10s" development:"5s" doc:"The server's lock_timeout: how long a statement waits for a lock."`
	IdleInTransactionTimeout limit `env:"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT" default:"60s" doc:"The server's idle_in_transaction_session_timeout: how long a transaction may do nothing."`
	MaxReplicaLag            limit `env:"DATABASE_REPLICA_MAX_LAG" default:"10s" doc:"How far a replica may be behind before reads leave it."`

	SlowQuery     limit  `env:"DATABASE_SLOW_QUERY" section:"Observation" default:"1s" development:"200ms" doc:"Duration from which a query is logged as slow."`
	LeakThreshold limit  `env:"DATABASE_LEAK_THRESHOLD" default:"2m" development:"1m" doc:"How long a connection may be held before it is reported as leaked."`
	AppName       string `env:"DATABASE_APPLICATION_NAME" example:"render-root" doc:"What pg_stat_activity calls this program. Unset: the name of the executable."`

	PgBouncer        flag  `env:"DATABASE_PGBOUNCER" section:"Network" default:"false" doc:"DATABASE_URL leads to PgBouncer in transaction mode: no named prepared statements, no session settings. Set the limits on the role then (ALTER ROLE app SET statement_timeout = '30s')."`
	AllowInsecureTLS flag  `env:"DATABASE_ALLOW_INSECURE_TLS" default:"false" doc:"Accept a connection to another machine that is not encrypted, or to a server that is not verified, under the rules of production."`
	KeepAliveIdle    limit `env:"DATABASE_KEEPALIVE_IDLE" default:"30s" doc:"Silence before TCP probes the connection. off: no keepalive."`
	KeepAliveInt     limit `env:"DATABASE_KEEPALIVE_INTERVAL" default:"10s" doc:"Time between two probes that are not answered."`
	KeepAliveCount   count `env:"DATABASE_KEEPALIVE_COUNT" default:"3" doc:"Unanswered probes that end the connection."`
	TCPUserTimeout   limit `env:"DATABASE_TCP_USER_TIMEOUT" default:"60s" doc:"How long sent data may stay unacknowledged before the connection is given up (Linux). off: about 15 minutes."`
}

// Variable describes one variable.
type Variable struct {
	// Name is the variable without a prefix.
	Name string
	// Section is the group it belongs to.
	Section string
	// Default is the value under the rules of production, and DefaultDevelopment the one in
	// development and test. Empty: none.
	Default, DefaultDevelopment string
	// Example is a value to show where there is no default.
	Example string
	// Doc says what it is for: one or more sentences, with Markdown.
	Doc string
}

// Variables returns every variable of this package, in the order of the README's table. libpq's PG*
// variables are not among them.
func Variables() []Variable {
	t := reflect.TypeFor[variables]()
	all := make([]Variable, 0, t.NumField())
	section := ""
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		if s := tag.Get("section"); s != "" {
			section = s
		}
		v := Variable{
			Name:               tag.Get("env"),
			Section:            section,
			Default:            tag.Get("default"),
			DefaultDevelopment: tag.Get("development"),
			Example:            tag.Get("example"),
			Doc:                tag.Get("doc"),
		}
		if v.DefaultDevelopment == "" {
			v.DefaultDevelopment = v.Default
		}
		all = append(all, v)
	}
	return all
}
