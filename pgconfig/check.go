package pgconfig

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// check applies the rules to a complete connection string, and makes sure that pgx accepts it.
func (l *loader) check(c *connection, cfg Config) {
	if !c.sound {
		return
	}
	if c.User == "" {
		l.add(c.key, "names no user", "write postgres://USER:PASSWORD@host:5432/database")
	}
	if c.Database == "" {
		form := "postgres://user:password@host:5432/DATABASE"
		// In a URL without an @ the host may be a piece of a secret.
		if c.Names("host") && (!strings.Contains(c.text, "://") || strings.Contains(c.text, "@")) {
			shown := c.Clone()
			shown.Database, shown.Params, shown.Settings, shown.Flags = "DATABASE", nil, nil, nil
			form = shown.Masked()
		}
		l.add(c.key, "names no database", "put it at the end: "+form)
	}
	cfg = l.override(c, cfg)
	l.settleTLS(c, cfg)
	l.checkFiles(c)
	l.checkBouncer(c, cfg)
	if len(l.list) > 0 {
		return // pgx would only repeat these problems, less clearly
	}
	if _, err := connConfig(c.DSN); err != nil {
		// Show the cause but not the error, which quotes the connection string. At this point only
		// the files for TLS can be wrong.
		detail := "cannot be used"
		if cause := errors.Unwrap(err); cause != nil && c.Params["sslrootcert"]+c.Params["sslcert"] != "" {
			detail += ": " + cause.Error()
		}
		l.add(c.key, detail, "check sslrootcert, sslcert, sslkey, sslpassword and the protocol versions")
	}
}

// override applies the parameters of a direct or replica URL to that connection. cfg already has
// the parameters of DATABASE_URL.
func (l *loader) override(c *connection, cfg Config) Config {
	least := ofSession
	switch c.key {
	case "DIRECT_DATABASE_URL":
	case "DATABASE_REPLICA_URLS":
		least = ofPool
	default:
		return cfg
	}
	for _, name := range sortedKeys(c.Limits) {
		v, _ := find(name)
		param := c.Limits[name].Param
		switch {
		case name == "DATABASE_PGBOUNCER" && least == ofSession:
			if c.Limits[name].Text == "true" {
				l.add(c.key, "leads to PgBouncer",
					"name the server itself: migrations and LISTEN do not work through PgBouncer")
			}
		case v.scope < least:
			l.note(c.key, param+" is left out: it counts in DATABASE_URL only")
			delete(c.Limits, name)
		default:
			_ = v.bind(&cfg).UnmarshalText([]byte(c.Limits[name].Text)) // its form was checked
			l.note(c.key, param+" is "+v.bind(&cfg).String()+" for this connection")
		}
	}
	idle, idleSet := c.Limits["DATABASE_POOL_MIN_IDLE_CONNS"]
	count, countSet := c.Limits["DATABASE_KEEPALIVE_COUNT"]
	switch most := c.Limits["DATABASE_POOL_MAX_CONNS"]; {
	case most.Text != "" && cfg.MaxConns < 1:
		l.add(c.key, "has the parameter "+most.Param+", which is 0", "a pool needs 1 connection or more")
	case idleSet && cfg.MinIdleConns > cfg.MaxConns:
		l.add(c.key, "has the parameter "+idle.Param+", which is more than the pool holds", "lower it")
	case countSet && cfg.KeepAliveCount < 1:
		l.add(c.key, "has the parameter "+count.Param+", which is 0",
			"write 1 or more, or keepalives=0 for no keepalive")
	}
	return cfg
}

// settleTLS settles sslmode and applies the rules on TLS.
//
// Under the rules of production, for another machine, sslmode defaults to verify-full. Only modes
// that verify the server are accepted, because require encrypts for anybody who answers. Elsewhere
// it defaults to libpq's prefer.
func (l *loader) settleTLS(c *connection, cfg Config) {
	far := cfg.Environment.strict() && !c.Local()
	root := c.Params["sslrootcert"]
	mode, set := c.Params["sslmode"]
	direct := c.Params["sslnegotiation"] == "direct"
	switch {
	case root == "system" && set && mode != "verify-full":
		l.add(c.key, "has sslrootcert=system with sslmode="+mode, "write sslmode=verify-full, which it stands for")
		return
	case root == "system":
		mode = "verify-full"
	case set:
	case far && cfg.AllowInsecureTLS && root == "":
		mode = "require"
	case far:
		mode = "verify-full"
	case direct:
		mode = "require"
	default:
		mode = "prefer"
	}
	c.Params["sslmode"] = mode
	if direct && slices.Contains([]string{"disable", "allow", "prefer"}, mode) {
		l.add(c.key, "has sslnegotiation=direct with sslmode="+mode, "write sslmode=require or a stronger one")
		return
	}
	if mode == "disable" {
		for _, name := range []string{"sslrootcert", "sslcert", "sslkey", "sslpassword"} {
			if _, ok := c.Params[name]; ok {
				delete(c.Params, name)
				l.note(c.key, name+" is left out: sslmode is disable")
			}
		}
	}
	public := root == "" || slices.Contains(publicBundles, root)
	if mode == "verify-ca" && public {
		l.add(c.key, "has sslmode=verify-ca without an authority of its own in sslrootcert, which anybody's "+
			"certificate satisfies",
			"write sslmode=verify-full, or name the authority's certificate in sslrootcert")
		return
	}

	verified := mode == "verify-full" || mode == "verify-ca" || (mode == "require" && !public)
	if remote := c.RemoteHosts(); far && len(remote) > 0 {
		const allow = "DATABASE_ALLOW_INSECURE_TLS"
		advice := dsn.Advice(remote[0])
		what := "connects to " + strings.Join(remote, ", ") + " with sslmode=" + mode +
			", which does not verify the server"
		switch {
		case verified && root == "" && advice != "" && !strings.Contains(advice, "sslrootcert=system"):
			l.note(c.key, "the system's roots may not verify this server: "+advice)
		case verified:
		case cfg.AllowInsecureTLS:
			l.note(c.key, "INSECURE: "+what)
		default:
			if advice == "" {
				advice = "write sslmode=verify-full, with sslrootcert=/path/to/ca.crt unless a public authority " +
					"signed the server's certificate"
			}
			if !strings.Contains(advice, allow) {
				advice += "; " + allow + "=true accepts it as it is"
			}
			l.add(c.key, what, advice)
		}
	}
	if l.vars["APP_ENV"].text != "" && cfg.Environment.strict() && c.Local() && !c.OnSocket() {
		l.note(c.key, "is this machine itself: right with a proxy beside the program, wrong in a container without one")
	}
}

// publicBundles are the files where systems keep the public authorities. Unless the host's name is
// checked too, a certificate from one of them proves nothing.
var publicBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// checkFiles makes sure that the files for TLS can be read.
func (l *loader) checkFiles(c *connection) {
	if c.OnSocket() {
		return
	}
	for _, name := range []string{"sslrootcert", "sslcert", "sslkey"} {
		path := c.Params[name]
		if path == "" || path == "system" {
			continue
		}
		f, err := os.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.add(c.key, "names a file in "+name+" that does not exist", "check the path, and that the file is mounted")
		case err != nil:
			l.add(c.key, "names a file in "+name+" that cannot be read",
				"make it readable for the user that the program runs as")
		default:
			_ = f.Close()
		}
	}
}

// bouncerSettings are the settings that PgBouncer lets a client choose; it refuses the others.
var bouncerSettings = map[string]bool{"timezone": true, "datestyle": true, "standard_conforming_strings": true}

// checkBouncer removes the settings that PgBouncer refuses.
func (l *loader) checkBouncer(c *connection, cfg Config) {
	if slices.ContainsFunc(c.Hosts, dsn.Address.IsPooler) {
		switch {
		case c.key == "DIRECT_DATABASE_URL":
			l.note(c.key, "leads to a pooler: name the server itself")
		case !cfg.PgBouncer:
			l.note(c.key, "leads to a pooler in transaction mode: set DATABASE_PGBOUNCER=true, or add pgbouncer=true")
		}
	}
	if !cfg.PgBouncer || c.key == "DIRECT_DATABASE_URL" {
		return
	}
	c.bouncer = true
	const cache = "statement_cache_capacity"
	if _, chosen := c.Params["default_query_exec_mode"]; !chosen && c.Params[cache] != "" {
		delete(c.Params, cache)
		l.note(c.key, cache+" is left out: no statement has a name behind PgBouncer")
	}
	for _, name := range sortedKeys(c.Settings) {
		if bouncerSettings[name] {
			l.note(c.key, name+" is left out of URL(): PgBouncer refuses it in options")
			continue
		}
		if name == "search_path" && c.Settings[name] != "public" {
			l.add(c.key, "asks for a schema or search_path, which PgBouncer refuses",
				"take it out, and set it on the role: ALTER ROLE … SET search_path = …")
			continue
		}
		delete(c.Settings, name)
		l.note(c.key, name+" is left out: PgBouncer refuses it; set it on the role")
	}
}
