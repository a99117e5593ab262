package pgconfig

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// finding is something wrong with a connection string. It never quotes a part of the string that
// may be a piece of a password: see each place that does quote.
type finding struct{ detail, hint string }

// parseDSN takes a connection string apart. It is our own parser, although pgx has one, because pgx
// accepts postgres://user:p@ss/word@host/db and goes to host ss, and because its errors show pieces
// of what they could not parse. What this one accepts means the same to pgx and libpq.
func parseDSN(text string) (d dsn, found []finding, ok bool) {
	text = strings.TrimSpace(text)
	if f, bad := foreign(text); bad {
		return dsn{}, []finding{f}, false
	}
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
		return dsn{}, []finding{{"contains a line break or another control character", "write it on one line"}}, false
	}
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			return parseURL(rest)
		}
	}
	return parseKeywords(text)
}

// normalize moves what libpq lets stand among the parameters to its place and checks the parts.
func (d *dsn) normalize() []finding {
	var found []finding
	take := func(name string) (string, bool) {
		v, ok := d.params[name]
		delete(d.params, name)
		return v, ok // empty counts too, as in libpq: it overrides
	}
	if v, ok := take("user"); ok {
		d.user = v
	}
	if v, ok := take("password"); ok {
		d.password = v
	}
	if v, ok := take("dbname"); ok {
		d.database = v
	}
	if v, ok := take("database"); ok {
		d.database = v
	}
	hosts, hasHost := take("host")
	ports, hasPort := take("port")
	switch {
	case hasHost:
		var list []string
		if hasPort {
			list = strings.Split(ports, ",")
		}
		if !d.setHosts(strings.Split(hosts, ","), list) {
			found = append(found, finding{"names a different number of hosts and ports", "give one port for all hosts, or one for each"})
		}
	case hasPort:
		if len(d.hosts) == 0 {
			d.hosts = []address{{}}
		}
		list := strings.Split(ports, ",")
		hosts := make([]string, len(d.hosts))
		for i, a := range d.hosts {
			hosts[i] = a.host
		}
		if !d.setHosts(hosts, list) {
			found = append(found, finding{"names a different number of hosts and ports", "give one port for all hosts, or one for each"})
		}
	}
	for i, a := range d.hosts {
		if !validHost(a.host) {
			d.hosts[i].host = "localhost" // not shown either, and whatever else is wrong is still found
			found = append(found, finding{
				"has a host that is not a name or an address",
				"an IPv6 address stands in brackets: postgres://user:password@[::1]:5432/database",
			})
		}
		if a.port != "" && !validPort(a.port) {
			// Forgotten at once, and not shown: in a URL without a host it is the password.
			d.hosts[i].port = ""
			found = append(found, finding{
				"has a port that is not a number from 1 to 65535",
				"the form is postgres://user:password@host:5432/database; 5432 is PostgreSQL's usual port",
			})
		}
	}
	return found
}

// validHost accepts a name, an address or the directory of a socket. An empty host is supplied
// later.
func validHost(host string) bool {
	if strings.HasPrefix(host, "/") {
		return true
	}
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	return strings.IndexFunc(host, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// otherDatabases are schemes that people paste by mistake.
var otherDatabases = map[string]string{
	"mysql": "MySQL", "mysql2": "MySQL", "mariadb": "MariaDB", "sqlserver": "SQL Server", "mssql": "SQL Server",
	"mongodb": "MongoDB", "mongodb+srv": "MongoDB", "redis": "Redis", "rediss": "Redis", "sqlite": "SQLite", "file": "SQLite",
	"oracle": "Oracle", "libsql": "libSQL", "prisma": "Prisma Accelerate", "prisma+postgres": "Prisma Accelerate",
}

// foreign recognises what is not a PostgreSQL connection string at all.
func foreign(text string) (finding, bool) {
	const form = "the form is postgres://user:password@host:5432/database"
	if text == "" {
		return finding{"is empty", form}, true
	}
	if strings.ContainsAny(text[:1], "\"'`") {
		return finding{"begins with a quotation mark", "take the quotation marks off: docker and systemd pass them on"}, true
	}
	if strings.HasPrefix(text, "psql ") {
		return finding{"is a psql command, not a connection string", "leave out psql and the quotation marks"}, true
	}
	for _, name := range []string{"DATABASE_URL=", "DIRECT_DATABASE_URL=", "export "} {
		if strings.HasPrefix(text, name) {
			return finding{"repeats its own name in its value", form}, true
		}
	}
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		if strings.HasPrefix(text, "postgres:") || strings.HasPrefix(text, "postgresql:") {
			return finding{"lacks the two slashes after the scheme", form}, true
		}
		return finding{}, false
	}
	lower := strings.ToLower(scheme)
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return finding{}, false
	case lower == "postgres" || lower == "postgresql":
		return finding{"has a scheme in capitals", "write postgres:// in lower case"}, true
	case otherDatabases[lower] != "":
		return finding{"is the address of another database, " + otherDatabases[lower], "this needs PostgreSQL: " + form}, true
	case strings.HasPrefix(lower, "jdbc:postgresql"):
		return finding{"is a JDBC address", form + ", the user and the password included"}, true
	case strings.HasPrefix(lower, "postgresql+") || strings.HasPrefix(lower, "postgres+"):
		return finding{"names a driver in its scheme", "write postgres:// without it"}, true
	case strings.Contains(scheme, "="):
		return finding{}, false // keyword=value with :// in some value
	}
	return finding{"does not begin with postgres:// or postgresql://", form}, true
}
