package pgconfig

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
	// Doc says what it is for: one or more sentences, with Markdown.
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

// table is the one declaration of every variable. It makes the loader, the report, the table in
// README.md and example.env.
var table = []variable{
	{
		Variable: Variable{
			"APP_ENV", "Environment", "", "", "development",
			"Where the program runs: development, test, staging or production. Unset: production, or development if " +
				"a .env file names " +
				"a database on this machine. It chooses the defaults below, the rules on TLS and whether .env is read.",
		},
		bind: func(c *Config) value { return &c.Environment },
	},

	location("DATABASE_URL", "postgres://app:secret@localhost:5432/app",
		"The database: a URL (postgres:// or postgresql://, several hosts allowed) or libpq's keyword=value form. "+
			"Special characters "+
			"in the password are percent-encoded: @ is %40, / is %2F. What it leaves out is taken from PGHOST, "+
			"PGUSER and the other PG* "+
			"variables, PGSERVICE and the pass file."),
	location("DATABASE_URL_FILE", "/run/secrets/database_url",
		"A file that holds DATABASE_URL, such as a Docker or Kubernetes secret. Not together with DATABASE_URL."),
	location("DATABASE_PASSWORD_FILE", "/run/secrets/database_password",
		"A file that holds the password only. Not together with a password in DATABASE_URL. It counts for the "+
			"direct and replica URLs "+
			"too where they name none."),
	location("DIRECT_DATABASE_URL", "postgres://app:secret@localhost:5432/app",
		"The same database without PgBouncer in between, for migrations and LISTEN. Unset: DATABASE_URL, unless "+
			"DATABASE_PGBOUNCER is on."),
	location("DATABASE_REPLICA_URLS", "postgres://app:secret@replica1/app,postgres://app:secret@replica2/app",
		"Read replicas, separated by commas. What a URL leaves out is taken from PG* as for DATABASE_URL."),

	{
		Variable{
			"DATABASE_POOL_MAX_CONNS", "Pool", "10", "4", "",
			"The most connections this instance holds. Times the number of " +
				"instances it must stay below the server's max_connections.",
		},
		ofPool, func(c *Config) value { return (*count)(&c.MaxConns) },
	},
	{
		Variable{"DATABASE_POOL_MIN_IDLE_CONNS", "Pool", "2", "0", "", "Idle connections kept ready."},
		ofPool, func(c *Config) value { return (*count)(&c.MinIdleConns) },
	},
	{
		Variable{
			"DATABASE_POOL_MAX_CONN_LIFETIME", "Pool", "30m", "30m", "",
			"Age after which a connection is replaced.",
		},
		ofPool, func(c *Config) value { return (*limit)(&c.MaxConnLifetime) },
	},
	{
		Variable{
			"DATABASE_POOL_MAX_CONN_LIFETIME_JITTER", "Pool", "3m", "3m", "",
			"Added to that age at random, so that connections " +
				"are not all replaced at once. Whole seconds.",
		},
		ofPool, func(c *Config) value { return (*limit)(&c.MaxConnLifetimeJitter) },
	},
	{
		Variable{
			"DATABASE_POOL_MAX_CONN_IDLE_TIME", "Pool", "10m", "10m", "",
			"How long a connection may lie idle before it is closed.",
		},
		ofPool, func(c *Config) value { return (*limit)(&c.MaxConnIdleTime) },
	},
	{
		Variable{
			"DATABASE_POOL_PING_TIMEOUT", "Pool", "2s", "2s", "",
			"Limit on the check of a connection that was idle before it is handed out.",
		},
		ofPool, func(c *Config) value { return (*limit)(&c.PingTimeout) },
	},

	{
		Variable{
			"DATABASE_ACQUIRE_TIMEOUT", "Limits", "5s", "5s", "",
			"How long a caller waits for a free connection.",
		},
		ofProgram, func(c *Config) value { return (*limit)(&c.AcquireTimeout) },
	},
	{
		Variable{
			"DATABASE_CONNECT_TIMEOUT", "Limits", "5s", "5s", "",
			"Limit on one attempt to connect to one host, TLS and login included.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.ConnectTimeout) },
	},
	{
		Variable{
			"DATABASE_STARTUP_TIMEOUT", "Limits", "60s", "15s", "",
			"How long a starting program waits for a database that is not there yet.",
		},
		ofProgram, func(c *Config) value { return (*limit)(&c.StartupTimeout) },
	},
	{
		Variable{
			"DATABASE_STATEMENT_TIMEOUT", "Limits", "30s", "60s", "",
			"The server's statement_timeout. Not for migrations and LISTEN.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.StatementTimeout) },
	},
	{
		Variable{
			"DATABASE_LOCK_TIMEOUT", "Limits", "10s", "5s", "",
			"The server's lock_timeout: how long a statement waits for a lock.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.LockTimeout) },
	},
	{
		Variable{
			"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "Limits", "60s", "60s", "",
			"The server's idle_in_transaction_session_timeout: " +
				"how long a transaction may do nothing.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.IdleInTransactionTimeout) },
	},
	{
		Variable{
			"DATABASE_REPLICA_MAX_LAG", "Limits", "10s", "10s", "",
			"How far a replica may be behind before reads leave it.",
		},
		ofProgram, func(c *Config) value { return (*limit)(&c.MaxReplicaLag) },
	},

	{
		Variable{
			"DATABASE_SLOW_QUERY", "Observation", "1s", "200ms", "",
			"Duration from which a query is logged as slow.",
		},
		ofProgram, func(c *Config) value { return (*limit)(&c.SlowQuery) },
	},
	{
		Variable{
			"DATABASE_LEAK_THRESHOLD", "Observation", "2m", "1m", "",
			"How long a connection may be held before it is reported as leaked.",
		},
		ofProgram, func(c *Config) value { return (*limit)(&c.LeakThreshold) },
	},
	{
		Variable{
			"DATABASE_APPLICATION_NAME", "Observation", "", "", "render-root",
			"What pg_stat_activity calls this program. Unset: the " +
				"name of the executable.",
		},
		ofSession, func(c *Config) value { return (*label)(&c.ApplicationName) },
	},

	{
		Variable{
			"DATABASE_PGBOUNCER", "Network", "false", "false", "",
			"DATABASE_URL leads to PgBouncer in transaction mode: no named " +
				"prepared statements, no session settings. Set the limits on the role then (ALTER ROLE app SET " +
				"statement_timeout = '30s').",
		},
		ofPool, func(c *Config) value { return (*flag)(&c.PgBouncer) },
	},
	{
		Variable{
			"DATABASE_ALLOW_INSECURE_TLS", "Network", "false", "false", "",
			"Accept a connection to another machine that is not " +
				"encrypted, or to a server that is not verified, under the rules of production.",
		},
		ofProgram, func(c *Config) value { return (*flag)(&c.AllowInsecureTLS) },
	},
	{
		Variable{
			"DATABASE_KEEPALIVE_IDLE", "Network", "30s", "30s", "",
			"Silence before TCP probes the connection. off: no keepalive.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.KeepAliveIdle) },
	},
	{
		Variable{
			"DATABASE_KEEPALIVE_INTERVAL", "Network", "10s", "10s", "",
			"Time between two probes that are not answered.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.KeepAliveInterval) },
	},
	{
		Variable{"DATABASE_KEEPALIVE_COUNT", "Network", "3", "3", "", "Unanswered probes that end the connection."},
		ofSession, func(c *Config) value { return (*count)(&c.KeepAliveCount) },
	},
	{
		Variable{
			"DATABASE_TCP_USER_TIMEOUT", "Network", "60s", "60s", "",
			"How long sent data may stay unacknowledged before the " +
				"connection is given up (Linux). off: about 15 minutes.",
		},
		ofSession, func(c *Config) value { return (*limit)(&c.TCPUserTimeout) },
	},
}

// location declares a variable that says where a database is. It has no field in Config.
func location(name, example, doc string) variable {
	return variable{Variable: Variable{Name: name, Section: "Where the database is", Example: example, Doc: doc}}
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
