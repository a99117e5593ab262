package pgconfig

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

const defaultPort = "5432"

// complete gives a connection string the defaults of the environment, applies its rules, and checks
// that pgx takes it.
func (l *loader) complete(key string, d *dsn, cfg Config) {
	strict := cfg.Environment.strict()
	l.completeHosts(key, d, cfg.Environment)
	for i := range d.hosts {
		if d.hosts[i].port == "" {
			d.hosts[i].port = defaultPort
		}
	}
	if d.user == "" {
		// libpq takes the name of the system's user. On a server that is more often forgotten than
		// meant, except on a socket, where "peer" authentication relies on it.
		if name := l.system["USER"]; name != "" && (!strict || d.local()) {
			d.user = name
		} else {
			l.add(key, "names no user", "write postgres://USER:PASSWORD@host:5432/database")
		}
	}
	if d.database == "" {
		shown := d.clone()
		shown.database, shown.params = "DATABASE", nil
		l.add(key, "names no database", "put it at the end: "+shown.url(true))
	}
	l.fillHome(d, key == "DATABASE_URL")
	l.secure(key, d, cfg)
	l.checkBouncer(key, d, cfg)
	if len(l.list) > 0 {
		return // what pgx would say about it has been said, better
	}
	if _, err := d.connConfig(); err != nil {
		// The cause is shown, the error is not: it quotes the connection string. What can still go
		// wrong is in the files for TLS.
		detail := "cannot be used"
		var parse *pgconn.ParseConfigError
		if cause := errors.Unwrap(err); errors.As(err, &parse) && cause != nil && d.params["sslrootcert"]+d.params["sslcert"] != "" && d.params["require_auth"] == "" {
			detail += ": " + cause.Error()
		}
		l.add(key, detail, "check sslrootcert, sslcert, sslkey, sslpassword and require_auth")
	}
}

// completeHosts supplies the host that is left out: this machine in development and test; otherwise
// it is an error, so that a forgotten variable never means "some server on this machine".
func (l *loader) completeHosts(key string, d *dsn, e Environment) {
	missing := len(d.hosts) == 0
	for _, a := range d.hosts {
		missing = missing || a.host == ""
	}
	if !missing {
		return
	}
	if e.strict() {
		l.add(key, "names no host", "write postgres://user:password@HOST:5432/database, set PGHOST, or set APP_ENV=development to mean localhost")
		return
	}
	if len(d.hosts) == 0 {
		d.hosts = []address{{}}
	}
	for i := range d.hosts {
		if d.hosts[i].host == "" {
			d.hosts[i].host = "localhost"
		}
	}
}

// bouncerSettings are the settings that PgBouncer lets a client choose; it refuses the others.
var bouncerSettings = map[string]bool{
	"timezone": true, "TimeZone": true, "datestyle": true, "DateStyle": true, "standard_conforming_strings": true,
}

// checkBouncer takes out the settings that PgBouncer would refuse to connect with.
func (l *loader) checkBouncer(key string, d *dsn, cfg Config) {
	if !cfg.PgBouncer || key == "DIRECT_DATABASE_URL" {
		return
	}
	for name, value := range d.runtimeParams() {
		if bouncerSettings[name] {
			continue
		}
		if name == "search_path" && value != "public" {
			l.add(key, "asks for a schema or search_path, which PgBouncer refuses",
				"take it out, and set it on the role: ALTER ROLE … SET search_path = …")
			continue
		}
		delete(d.params, name)
		l.note(key, name+" is left out: PgBouncer refuses it; set it on the role")
	}
}
