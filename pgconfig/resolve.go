package pgconfig

import (
	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// resolved holds what loading found out about the connections. It never changes.
type resolved struct {
	prefix    string
	main      login
	direct    login // same as main unless DIRECT_DATABASE_URL is set
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

// resolve stores the result in cfg and builds the report.
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

// URL returns the database's complete URL, with the password: address, login, TLS and settings of
// the server, from DATABASE_URL, files, PG* variables and defaults. It is empty for a zero Config.
//
// Behind PgBouncer it has no settings, which PgBouncer refuses in a URL.
//
// Use it for programs that want a connection string: psql and pgx accept it. If the system's roots
// verify the server, it has sslrootcert=system, which needs libpq 16. Other parameters of
// DATABASE_URL may need a newer libpq too, such as sslnegotiation (17).
//
// It has neither the limits nor parameters that only pgx understands, such as
// default_query_exec_mode. In this process use [Config.PoolConfig] and [Config.DirectConfig], which
// apply them.
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
//
// It is false if the default is in effect, even if a program assigned the same value, and for a
// name that is not a variable. Use it to decide whether a limit should override a stricter one of
// the role.
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
