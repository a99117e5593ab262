package pgconfig

import "time"

// Variable describes one variable.
type Variable struct {
	// Name is the variable without a prefix.
	Name string
	// Section is the group it belongs to.
	Section string
	// Default is the value under the rules of production. Empty: none.
	Default string
	// DefaultDevelopment is the value in development and test. Empty: none.
	DefaultDevelopment string
	// Example is a value to show where there is no default.
	Example string
	// Doc explains the variable in one or more sentences of Markdown.
	Doc string
}

// Variables returns every variable of this package, in the order of the README's table. libpq's PG*
// variables are not among them.
func Variables() []Variable {
	all := make([]Variable, len(table))
	for i, v := range table {
		all[i] = v.Variable
	}
	return all
}

// scope says where a parameter of a connection string may stand for a variable.
type scope int

const (
	ofProgram scope = iota // in DATABASE_URL only
	ofPool                 // in DATABASE_URL and DATABASE_REPLICA_URLS
	ofSession              // in DIRECT_DATABASE_URL too
)

// variable is a Variable with its field of Config. bind is nil where there is none.
type variable struct {
	Variable
	scope scope
	bind  func(c *Config) value
}

// table declares every variable. The loader, the report, the table in README.md and example.env
// come from it.
var table = []variable{
	{
		Variable: Variable{
			"APP_ENV", "Environment", "", "", "development",
			"Where the program runs: development, test, staging or production. Unset: production, or development " +
				"if a .env file names a database on this machine. It chooses the defaults below, the rules on TLS " +
				"and whether .env is read.",
		},
		bind: func(c *Config) value { return &c.Environment },
	},

	location("DATABASE_URL", "postgres://app:secret@localhost:5432/app",
		"The database: a URL (postgres:// or postgresql://, several hosts allowed) or libpq's keyword=value form. "+
			"Special characters in the password are percent-encoded: @ is %40, / is %2F. Missing parts come "+
			"from PGHOST, PGUSER and the other PG* variables, PGSERVICE and the pass file."),
	location("DATABASE_URL_FILE", "/run/secrets/database_url",
		"A file that holds DATABASE_URL, such as a Docker or Kubernetes secret. Not together with DATABASE_URL."),
	location("DATABASE_PASSWORD_FILE", "/run/secrets/database_password",
		"A file that holds the password only. Not together with a password in DATABASE_URL. It counts for the "+
			"direct and replica URLs too where they name none."),
	location("DIRECT_DATABASE_URL", "postgres://app:secret@localhost:5432/app",
		"The same database without PgBouncer in between, for migrations and LISTEN. Unset: DATABASE_URL, unless "+
			"DATABASE_PGBOUNCER is on."),
	location("DATABASE_REPLICA_URLS", "postgres://app:secret@replica1/app,postgres://app:secret@replica2/app",
		"Read replicas, separated by commas. Missing parts come from PG* as for DATABASE_URL."),

	number("DATABASE_POOL_MAX_CONNS", "Pool", "10", "4", ofPool,
		"The most connections this instance holds. Multiplied by the number of instances, it must stay below the "+
			"server's max_connections.",
		func(c *Config) *int32 { return &c.MaxConns }),
	number("DATABASE_POOL_MIN_IDLE_CONNS", "Pool", "2", "0", ofPool,
		"Idle connections kept ready.", func(c *Config) *int32 { return &c.MinIdleConns }),
	duration("DATABASE_POOL_MAX_CONN_LIFETIME", "Pool", "30m", "30m", ofPool,
		"Age after which a connection is replaced.", func(c *Config) *time.Duration { return &c.MaxConnLifetime }),
	duration("DATABASE_POOL_MAX_CONN_LIFETIME_JITTER", "Pool", "3m", "3m", ofPool,
		"Added to that age at random, so that connections are not all replaced at once. Whole seconds.",
		func(c *Config) *time.Duration { return &c.MaxConnLifetimeJitter }),
	duration("DATABASE_POOL_MAX_CONN_IDLE_TIME", "Pool", "10m", "10m", ofPool,
		"How long a connection may be idle before it is closed.",
		func(c *Config) *time.Duration { return &c.MaxConnIdleTime }),
	duration("DATABASE_POOL_PING_TIMEOUT", "Pool", "2s", "2s", ofPool,
		"Limit on the check of a connection that was idle before it is handed out.",
		func(c *Config) *time.Duration { return &c.PingTimeout }),

	duration("DATABASE_ACQUIRE_TIMEOUT", "Limits", "5s", "5s", ofProgram,
		"How long a caller waits for a free connection.",
		func(c *Config) *time.Duration { return &c.AcquireTimeout }),
	duration("DATABASE_CONNECT_TIMEOUT", "Limits", "5s", "5s", ofSession,
		"Limit on one attempt to connect to one host, TLS and login included.",
		func(c *Config) *time.Duration { return &c.ConnectTimeout }),
	duration("DATABASE_STARTUP_TIMEOUT", "Limits", "60s", "15s", ofProgram,
		"How long a starting program waits for a database that is not there yet.",
		func(c *Config) *time.Duration { return &c.StartupTimeout }),
	duration("DATABASE_STATEMENT_TIMEOUT", "Limits", "30s", "60s", ofSession,
		"The server's statement_timeout. Not for migrations and LISTEN.",
		func(c *Config) *time.Duration { return &c.StatementTimeout }),
	duration("DATABASE_LOCK_TIMEOUT", "Limits", "10s", "5s", ofSession,
		"The server's lock_timeout: how long a statement waits for a lock.",
		func(c *Config) *time.Duration { return &c.LockTimeout }),
	duration("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "Limits", "60s", "60s", ofSession,
		"The server's idle_in_transaction_session_timeout: how long a transaction may do nothing.",
		func(c *Config) *time.Duration { return &c.IdleInTransactionTimeout }),
	duration("DATABASE_REPLICA_MAX_LAG", "Limits", "10s", "10s", ofProgram,
		"How far a replica may be behind before reads go elsewhere.",
		func(c *Config) *time.Duration { return &c.MaxReplicaLag }),

	duration("DATABASE_SLOW_QUERY", "Observation", "1s", "200ms", ofProgram,
		"Duration from which a query is logged as slow.", func(c *Config) *time.Duration { return &c.SlowQuery }),
	duration("DATABASE_LEAK_THRESHOLD", "Observation", "2m", "1m", ofProgram,
		"How long a connection may be held before it is reported as leaked.",
		func(c *Config) *time.Duration { return &c.LeakThreshold }),
	{
		Variable{
			Name: "DATABASE_APPLICATION_NAME", Section: "Observation", Example: "render-root",
			Doc: "What pg_stat_activity calls this program. Unset: the name of the executable.",
		},
		ofSession, func(c *Config) value { return (*label)(&c.ApplicationName) },
	},

	toggle("DATABASE_PGBOUNCER", ofPool,
		"DATABASE_URL leads to PgBouncer in transaction mode: no named prepared statements, no session "+
			"settings. Set the limits on the role then (ALTER ROLE app SET statement_timeout = '30s').",
		func(c *Config) *bool { return &c.PgBouncer }),
	toggle("DATABASE_ALLOW_INSECURE_TLS", ofProgram,
		"Accept a connection to another machine that is not encrypted, or to a server that is not verified, "+
			"under the rules of production.",
		func(c *Config) *bool { return &c.AllowInsecureTLS }),
	duration("DATABASE_KEEPALIVE_IDLE", "Network", "30s", "30s", ofSession,
		"Silence before TCP probes the connection. off: no keepalive.",
		func(c *Config) *time.Duration { return &c.KeepAliveIdle }),
	duration("DATABASE_KEEPALIVE_INTERVAL", "Network", "10s", "10s", ofSession,
		"Time between two probes that are not answered.",
		func(c *Config) *time.Duration { return &c.KeepAliveInterval }),
	number("DATABASE_KEEPALIVE_COUNT", "Network", "3", "3", ofSession,
		"Unanswered probes that end the connection.", func(c *Config) *int32 { return &c.KeepAliveCount }),
	duration("DATABASE_TCP_USER_TIMEOUT", "Network", "60s", "60s", ofSession,
		"How long sent data may stay unacknowledged before the connection is given up (Linux). off: about 15 "+
			"minutes.",
		func(c *Config) *time.Duration { return &c.TCPUserTimeout }),
}

// location declares a variable that says where a database is. It has no field in Config.
func location(name, example, doc string) variable {
	return variable{Variable: Variable{Name: name, Section: "Where the database is", Example: example, Doc: doc}}
}

func duration(name, section, production, development string, s scope, doc string,
	field func(*Config) *time.Duration,
) variable {
	return variable{
		Variable{Name: name, Section: section, Default: production, DefaultDevelopment: development, Doc: doc},
		s, func(c *Config) value { return (*limit)(field(c)) },
	}
}

func number(name, section, production, development string, s scope, doc string, field func(*Config) *int32) variable {
	return variable{
		Variable{Name: name, Section: section, Default: production, DefaultDevelopment: development, Doc: doc},
		s, func(c *Config) value { return (*count)(field(c)) },
	}
}

func toggle(name string, s scope, doc string, field func(*Config) *bool) variable {
	return variable{
		Variable{Name: name, Section: "Network", Default: "false", DefaultDevelopment: "false", Doc: doc},
		s, func(c *Config) value { return (*flag)(field(c)) },
	}
}

// find returns the variable of that name.
func find(name string) (variable, bool) {
	for _, v := range table {
		if v.Name == name {
			return v, true
		}
	}
	return variable{}, false
}
