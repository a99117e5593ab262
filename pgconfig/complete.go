package pgconfig

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgpassfile"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

// fill completes a connection string as libpq does: from the password file, a service, and the PG*
// variables. A service wins over PG* variables.
func (l *loader) fill(c *connection) {
	if !c.sound {
		return
	}
	if c.Password == "" && l.password.text != "" {
		c.Password, c.passFile = l.password.text, l.vars["DATABASE_PASSWORD_FILE"].text
		l.part(c, "password", l.password.source)
	}
	params := l.libpq
	take := func(name string) string {
		value := params[name]
		if own, ok := c.Params[name]; ok {
			value = own
			delete(c.Params, name)
		}
		params = without(params, name)
		return value
	}
	_, ownService := c.Params["service"]
	_, ownFile := c.Params["servicefile"]
	service, serviceFile := take("service"), take("servicefile")
	if service == "" && ownFile {
		l.note(c.key, "servicefile is left out: no service is named")
	}
	if service != "" && !l.fillService(c, service, serviceFile, ownService) {
		c.sound = false
		return
	}
	if c.HasOptions && params["options"] != "" {
		params = without(params, "options") // as libpq, which takes one or the other
		note := "PGOPTIONS is left out: options are given already"
		if c.inherits() {
			note += ", and limits are those of DATABASE_URL"
		}
		l.note(c.key, note)
	}
	for name := range l.libpq {
		// What does not count need not be right either.
		if c.Names(name) && name != "port" || c.Params[name] != "" || c.limits(name) {
			params = without(params, name)
		}
	}
	if len(params) == 0 {
		return
	}
	from, found := dsn.Parse(dsn.Join(params))
	for _, p := range found {
		if p.Param == "" {
			l.add("PGPORT", "has a different number of ports than PGHOST has hosts", p.Hint)
			c.sound = false
			return
		}
		_, replaced := l.vars["DATABASE_CONNECT_TIMEOUT"]
		if p.Param == "port" && c.Names("port") || p.Param == "connect_timeout" && replaced {
			continue // stronger ones count
		}
		l.add(l.variable(p.Param), p.Detail, p.Hint)
	}
	l.yieldFallback(c, from)
	l.dropInherited(c, from, false)
	l.merge(c, from, func(param string) string {
		variable := l.variable(param)
		return variable + " (" + l.vars[variable].source + ")"
	}, "PGPORT")
}

// fillService takes what is missing from a section of a service file.
// own says that the connection string names it.
func (l *loader) fillService(c *connection, service, file string, own bool) bool {
	where := "PGSERVICE"
	if _, ok := l.vars[where]; !ok {
		where = c.key
	}
	if home := l.system["HOME"]; file == "" && home != "" {
		file = filepath.Join(home, ".pg_service.conf")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		l.add(where, "names a service, but the service file cannot be read",
			"set PGSERVICEFILE, or write ~/.pg_service.conf")
		return false
	}
	settings, detail, hint := parseService(string(data), service)
	if detail != "" {
		l.add(where, "names a service "+detail, hint)
		return false
	}
	if c.HasOptions && settings["options"] != "" {
		delete(settings, "options") // as libpq, which takes one or the other
		l.note(c.key, "options of the service are left out: options are given already")
	}
	if len(settings) == 0 {
		return true
	}
	from, found := dsn.Parse(dsn.Join(settings))
	for _, p := range found {
		l.add(where, "names a service which "+p.Sentence(), p.Hint)
	}
	l.yieldFallback(c, from)
	l.dropInherited(c, from, own)
	l.merge(c, from, func(string) string { return "service file " + file }, where)
	return len(found) == 0
}

// parseService returns the section of a service as libpq reads it: the first of its name, in which
// the first line for a parameter counts. Other sections may hold anything. detail says what is
// wrong.
func parseService(text, service string) (settings map[string]string, detail, hint string) {
	var found bool
	settings = map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			if found {
				return settings, "", ""
			}
			found = strings.HasPrefix(line, "["+service+"]")
			continue
		case !found:
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		switch _, twice := settings[name]; {
		case !ok || strings.TrimSpace(name) != name:
			return nil, "whose section has a line that is not of the form name=value", "write it without spaces"
		case name == "service" || name == "servicefile":
			return nil, "whose section has " + name + " in it", "take that out: services do not nest"
		case !twice:
			settings[name] = value
		}
	}
	if !found {
		return nil, "that the service file does not have", "add a section with its name in square brackets"
	}
	return settings, "", ""
}

// inherits reports whether the limits of DATABASE_URL count for c where its own URL has none.
func (c *connection) inherits() bool {
	return c.key == "DIRECT_DATABASE_URL" || c.key == "DATABASE_REPLICA_URLS"
}

// dropInherited takes out the limits that the Config has already. own says that c itself names
// where they come from, which beats DATABASE_URL but no variable of the table.
func (l *loader) dropInherited(c *connection, from dsn.DSN, own bool) {
	for name := range from.Limits {
		_, set := l.vars[name]
		_, main := l.limits[name]
		if c.inherits() && (set || main && !own) {
			delete(from.Limits, name)
		}
	}
}

// yieldFallback takes out a fallback_application_name, to which libpq prefers a name of any source.
func (l *loader) yieldFallback(c *connection, from dsn.DSN) {
	const name = "DATABASE_APPLICATION_NAME"
	if c.Limits[name].Param == "fallback_application_name" && from.Limits[name].Text != "" {
		delete(c.Limits, name)
		l.note(c.key, "fallback_application_name is left out: "+from.Limits[name].Param+" is given elsewhere")
	}
}

// merge takes what c leaves out from another source, and reports it.
func (l *loader) merge(c *connection, from dsn.DSN, source func(param string) string, portKey string) {
	l.note(c.key, from.Notes...)
	limits := from.Limits
	taken, ok := c.Fill(from)
	if !ok {
		l.add(portKey, "has a different number of ports than there are hosts",
			"give one port for all hosts, or one for each")
	}
	for _, name := range taken {
		param := name
		if limit, ok := limits[name]; ok {
			param = limit.Param
		}
		l.part(c, param, source(param))
	}
}

func (l *loader) part(c *connection, name, source string) {
	shown := c.MaskSettings()
	value := map[string]string{
		"host": c.HostList(), "port": c.PortList(), "user": c.User, "database": c.Database,
		"options": shown.Options(),
	}[name]
	for _, m := range []map[string]string{c.Params, shown.Settings} {
		if v, ok := m[name]; ok {
			value = v
		}
	}
	for _, limit := range c.Limits {
		if limit.Param == name {
			value = limit.Text
		}
	}
	if name == "password" || dsn.IsSecret(name) {
		value = Redacted
	}
	c.parts = append(c.parts, Setting{Key: partKey(l.prefix, name), Value: value, Source: source})
}

// partKey names a part of the main connection string in a report.
func partKey(prefix, name string) string { return prefixed(prefix, "DATABASE_URL") + " " + name }

// variable returns the PG* variable that is set for a parameter.
func (l *loader) variable(param string) string {
	if param == "database" {
		param = "dbname"
	}
	for name := range l.vars {
		if dsn.FromEnv(name) == param {
			return name
		}
	}
	if param == "sslmode" {
		return "PGREQUIRESSL"
	}
	return "PGOPTIONS" // a setting out of options
}

// complete gives a connection string the defaults of the environment: host, port, user, the
// certificates in the home directory, and the password from the pass file.
func (l *loader) complete(c *connection, e Environment) {
	if !c.sound {
		return
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []dsn.Address{{}}
	}
	named := true
	for i, a := range c.Hosts {
		if a.Host == "" {
			// Off a developer's machine a forgotten variable must not mean "some server on this
			// machine".
			named = false
			if !e.strict() {
				c.Hosts[i].Host = "localhost"
			}
		}
		if a.Port == "" {
			c.Hosts[i].Port = "5432"
		}
	}
	if !named && e.strict() {
		l.add(c.key, "names no host",
			"write postgres://user:password@HOST:5432/database, set PGHOST, or set APP_ENV=development to mean "+
				"localhost")
	}
	// libpq takes the name of the system's user. On a server that is more often forgotten than
	// meant, except on a socket, where "peer" authentication relies on it.
	if c.User == "" && (!e.strict() || c.Local()) {
		c.User = l.system["USER"]
	}
	l.fillCertificates(c)
	l.settleCertificates(c)
	l.fillPassword(c)
}

// fillCertificates names the certificates in ~/.postgresql, as libpq does.
func (l *loader) fillCertificates(c *connection) {
	home := l.system["HOME"]
	if home == "" || c.Params["sslmode"] == "disable" {
		return
	}
	dir := filepath.Join(home, ".postgresql")
	certificate, key, root := filepath.Join(dir, "postgresql.crt"), filepath.Join(dir, "postgresql.key"),
		filepath.Join(dir, "root.crt")
	switch cert, own := c.Params["sslcert"], c.Params["sslkey"]; {
	case cert == "" && own == "" && exists(certificate) && exists(key):
		c.Params["sslcert"], c.Params["sslkey"] = certificate, key
	case cert != "" && own == "" && exists(key):
		c.Params["sslkey"] = key
	case cert == "" && own != "" && exists(certificate):
		c.Params["sslcert"] = certificate
	}
	if c.Params["sslrootcert"] == "" && exists(root) {
		c.Params["sslrootcert"] = root
	}
}

// settleCertificates deals with a client certificate without a key. In a connection string it is
// Prisma's: the authority's certificate. Elsewhere it is libpq's, which must never become one that
// the server is trusted for.
func (l *loader) settleCertificates(c *connection) {
	cert, key := c.Params["sslcert"], c.Params["sslkey"]
	switch {
	case (cert == "") == (key == ""):
		return
	case cert == "":
		l.note(c.key, "sslkey is left out: there is no sslcert")
	case !c.ownCert && c.Params["sslmode"] != "disable":
		l.add(c.key, "has a client certificate without a key", "set PGSSLKEY or sslkey too")
	case c.ownCert && c.Params["sslrootcert"] == "":
		c.Params["sslrootcert"] = cert
		l.note(c.key, "sslcert without sslkey became sslrootcert, as Prisma means it")
	default:
		l.note(c.key, "sslcert is left out: there is no sslkey")
	}
	delete(c.Params, "sslcert")
	delete(c.Params, "sslkey")
}

// fillPassword takes the password from the pass file. libpq looks up one for each host; pgx logs in
// everywhere with one, so that they must be the same.
func (l *loader) fillPassword(c *connection) {
	path := c.Params["passfile"]
	delete(c.Params, "passfile")
	named := path != ""
	if home := l.system["HOME"]; path == "" && home != "" {
		path = filepath.Join(home, ".pgpass")
	}
	if named && c.Password != "" {
		l.note(c.key, "the pass file is left out: a password is given already")
	}
	if path == "" || c.Password != "" {
		return
	}
	file, err := pgpassfile.ReadPassfile(path)
	if err != nil {
		if named {
			l.note(c.key, "the pass file cannot be read: no password is sent")
		}
		return // as libpq: a password may not be needed
	}
	missing := false
	for _, a := range c.Hosts {
		password := file.FindPassword(a.Host, a.Port, c.Database, c.User)
		if password == "" && strings.HasPrefix(a.Host, "/") {
			password = file.FindPassword("localhost", a.Port, c.Database, c.User)
		}
		switch {
		case password == "":
			missing = true
		case password == c.Password:
		case c.Password != "":
			l.add(c.key, "names hosts for which the pass file has different passwords",
				"pgx logs in everywhere with one: give each host the same, or name one host")
			return
		default:
			c.Password, c.passFile = password, path
			l.part(c, "password", "file "+path)
		}
	}
	if missing && c.Password != "" {
		l.note(c.key, "the pass file has a line for some of the hosts: its password goes to all")
	}
}

// limits reports whether the connection string has a parameter that stands for a variable.
func (c *connection) limits(param string) bool {
	for _, own := range c.Limits {
		if own.Param == param {
			return true
		}
	}
	return false
}

func without(m map[string]string, name string) map[string]string {
	less := make(map[string]string, len(m))
	for k, v := range m {
		if k != name {
			less[k] = v
		}
	}
	return less
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
