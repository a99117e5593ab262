package pgconfig

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

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
	params := c.selectMissing(l.libpq)
	ownService, ownFile := c.Params["service"], c.Params["servicefile"]
	service, serviceFile := cmp.Or(ownService, params["service"]), cmp.Or(ownFile, params["servicefile"])
	delete(c.Params, "service")
	delete(c.Params, "servicefile")
	if service == "" && ownFile != "" {
		l.note(c.key, "servicefile is left out: no service is named")
	}
	if service != "" && !l.fillService(c, service, serviceFile, ownService != "") {
		c.sound = false
		return
	}
	if c.Names("options") && l.libpq["options"] != "" {
		note := "PGOPTIONS is left out: options are given already"
		if c.inherits() {
			note += ", and the limits come from DATABASE_URL"
		}
		l.note(c.key, note)
	}
	params = c.selectMissing(l.libpq) // again: the service may name what the connection string does not
	delete(params, "service")
	delete(params, "servicefile")
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
			continue // a stronger source has it
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

// selectMissing returns the parameters that c does not have. The others have no effect, so they
// need not be valid. It leaves ports to Fill, which matches them with hosts.
func (c *connection) selectMissing(params map[string]string) map[string]string {
	rest := map[string]string{}
	for name, value := range params {
		if !c.Names(name) || name == "port" {
			rest[name] = value
		}
	}
	return rest
}

// fillService fills in what is missing from a section of a service file. own says that the
// connection string names the section.
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
	if c.Names("options") && settings["options"] != "" {
		l.note(c.key, "options of the service are left out: options are given already")
	}
	if settings = c.selectMissing(settings); len(settings) == 0 {
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

// parseService returns the section of a service as libpq reads it: the first section of that name
// counts, and in it the first line for each parameter. Other sections may hold anything. detail
// says what is wrong.
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
			return nil, "with a line in its section that is not of the form name=value", "write it without spaces"
		case name == "service" || name == "servicefile":
			return nil, "with " + name + " in its section", "take that out: services do not nest"
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

// dropInherited removes the limits that the Config has already. own says that c itself names their
// source, which beats DATABASE_URL but not a variable of the table.
func (l *loader) dropInherited(c *connection, from dsn.DSN, own bool) {
	for name := range from.Limits {
		_, set := l.vars[name]
		_, main := l.limits[name]
		if c.inherits() && (set || main && !own) {
			delete(from.Limits, name)
		}
	}
}

// yieldFallback removes a fallback_application_name if another source has a name. libpq prefers any
// other name.
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
func partKey(prefix, name string) string { return addPrefix(prefix, "DATABASE_URL") + " " + name }

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
	return "PGOPTIONS" // the setting came from options
}
