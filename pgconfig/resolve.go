package pgconfig

import (
	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// resolved is what loading found out about the connections. It is never changed.
type resolved struct {
	prefix    string
	main      login
	direct    login // main, if there is none of its own
	hasDirect bool
	replicas  []login
	report    []Setting
	sources   map[string]string // where each variable's value came from
	values    map[string]string // the values when loaded
}

// login is a complete connection string, and the file that its password came from.
type login struct {
	dsn.DSN
	key     string
	secret  *SecretFile
	bouncer bool
}

// url names the system's roots, which pgx takes anyway: libpq wants a file in the home directory.
// It leaves the settings out behind PgBouncer, which refuses them in options.
func (d login) url() Secret {
	full := d.Clone()
	if d.bouncer {
		full.Settings = nil
	}
	if full.Params["sslmode"] == "verify-full" && full.Params["sslrootcert"] == "" {
		full.Params["sslrootcert"] = "system"
	}
	return NewSecret(full.URL())
}

// resolve puts what was found into cfg, and the report together.
func (l *loader) resolve(cfg Config, c connections, sources map[string]string) Config {
	use := func(one *connection) login {
		return login{DSN: one.DSN, key: one.key, secret: l.secretFile(one, cfg.Environment), bouncer: one.bouncer}
	}
	r := &resolved{prefix: l.prefix, main: use(c.main), sources: sources, values: cfg.values()}
	r.main.key = "DATABASE_URL"
	r.direct = r.main
	if c.direct != nil {
		r.direct, r.hasDirect = use(c.direct), true
	}
	for _, one := range c.replicas {
		r.replicas = append(r.replicas, use(one))
	}
	r.report = l.report(cfg, c, sources)
	cfg.resolved = func() *resolved { return r }
	return cfg
}

func (c Config) state() *resolved {
	if c.resolved == nil {
		return nil
	}
	return c.resolved()
}

// URL returns the database's complete URL: address, login, TLS and settings of the server, as
// DATABASE_URL, files and PG* variables gave them, with defaults and the password. It is empty in a
// zero Config.
//
// Behind PgBouncer it has no settings, which PgBouncer refuses in a URL.
//
// psql and pgx accept it, so give it to programs that want a connection string. Where the system's
// roots verify the server it says sslrootcert=system, which libpq knows since version 16. Other
// parameters that DATABASE_URL gives may need a newer libpq too, such as sslnegotiation (17).
//
// It holds neither the limits nor what only pgx understands (default_query_exec_mode): in this
// process use [Config.PoolConfig] and [Config.DirectConfig], which apply them.
func (c Config) URL() Secret {
	r := c.state()
	if r == nil {
		return Secret{}
	}
	return r.main.url()
}

// DirectURL returns the URL of DIRECT_DATABASE_URL. Without one it is [Config.URL], even behind
// PgBouncer.
func (c Config) DirectURL() Secret {
	r := c.state()
	if r == nil {
		return Secret{}
	}
	return r.direct.url()
}

// ReplicaURLs returns the URL of each of DATABASE_REPLICA_URLS.
func (c Config) ReplicaURLs() []Secret {
	r := c.state()
	if r == nil {
		return nil
	}
	urls := make([]Secret, len(r.replicas))
	for i, d := range r.replicas {
		urls[i] = d.url()
	}
	return urls
}

// IsSet reports whether a variable, named without the prefix, was set: in the environment, in a
// .env file, as a parameter of DATABASE_URL, or by a program that changed the value after loading.
// It is false where the default is in effect, also if a program assigned the same value, and for a
// name that is not a variable. A limit that was not set need not overrule a stricter one of the
// role.
func (c Config) IsSet(variable string) bool {
	r := c.state()
	if r == nil {
		return false
	}
	source, known := r.sources[variable]
	return known && (source != "default" || c.values()[variable] != r.values[variable])
}

// values returns the texts of the variables that have a field in Config.
func (c Config) values() map[string]string {
	values := map[string]string{}
	for _, v := range table {
		if v.bind != nil {
			values[v.Name] = v.bind(&c).String()
		}
	}
	return values
}
