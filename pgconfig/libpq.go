package pgconfig

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgpassfile"
	"github.com/jackc/pgservicefile"
)

// fill completes a connection string as libpq does: from the password file of ours, a service, the
// PG* variables, and ~/.pgpass. A service wins over PG* variables, as in libpq. It reports false if
// what is there cannot be used.
func (l *loader) fill(key string, d *dsn, password entry) bool {
	settings, ok := l.libpqSettings(key, d)
	if !ok {
		return false
	}
	if port := settings["port"].text; port != "" && slices.ContainsFunc(strings.Split(port, ","), func(p string) bool { return !validPort(p) }) {
		l.add("PGPORT", "is not a number from 1 to 65535", "5432 is PostgreSQL's usual port")
		delete(settings, "port")
	}
	main := key == "DATABASE_URL" || key == "DATABASE_URL_FILE"
	used := func(name string) {
		if main {
			e := settings[name]
			value := e.text
			if isSecretParam(name) {
				value = Redacted
			}
			l.parts = append(l.parts, Setting{Key: partKey(l.prefix, name), Value: value, Source: e.source})
		}
	}
	if d.password == "" && password.text != "" {
		d.password = password.text
		if main {
			l.parts = append(l.parts, Setting{Key: partKey(l.prefix, "password"), Value: Redacted, Source: password.source})
		}
	}
	if len(d.hosts) == 0 || d.hosts[0].host == "" {
		if host := settings["host"].text; host != "" {
			var ports []string
			if len(d.hosts) == 1 && d.hosts[0].port != "" {
				ports = []string{d.hosts[0].port}
			} else if port := settings["port"].text; port != "" {
				ports = strings.Split(port, ",")
				used("port")
			}
			if !d.setHosts(strings.Split(host, ","), ports) {
				l.add("PGPORT", "has a different number of ports than PGHOST has hosts", "give one port for all hosts, or one for each")
				return false
			}
			used("host")
		}
	} else if port := settings["port"].text; port != "" && !strings.Contains(port, ",") {
		before := d.clone()
		for i := range d.hosts {
			d.hosts[i].port = cmp.Or(d.hosts[i].port, port)
		}
		if !slices.Equal(before.hosts, d.hosts) {
			used("port")
		}
	}
	for _, part := range []struct {
		name string
		at   *string
	}{{"database", &d.database}, {"user", &d.user}, {"password", &d.password}} {
		if *part.at == "" && settings[part.name].text != "" {
			*part.at = settings[part.name].text
			used(part.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		switch name {
		case "host", "port", "user", "password", "database":
			continue
		}
		if _, set := d.params[name]; !set {
			d.params[name] = settings[name].text
			used(name)
		}
	}
	return true
}

// libpqSettings returns the settings of the PG* variables and, over them, those of the service.
func (l *loader) libpqSettings(key string, d *dsn) (map[string]entry, bool) {
	settings := map[string]entry{}
	for name, variable := range connectionParams {
		if e, ok := l.vars[variable]; ok {
			if name == "dbname" {
				name = "database"
			}
			settings[name] = entry{text: e.text, source: variable + " (" + e.source + ")"}
		}
	}
	take := func(name string) string {
		text, ok := d.params[name]
		if !ok {
			text = settings[name].text
		}
		delete(d.params, name)
		delete(settings, name)
		return text
	}
	service, file := take("service"), take("servicefile")
	if service == "" {
		return settings, true
	}
	where := "PGSERVICE"
	if _, ok := l.vars[where]; !ok {
		where = key
	}
	if home := l.system["HOME"]; file == "" && home != "" {
		file = filepath.Join(home, ".pg_service.conf")
	}
	parsed, err := pgservicefile.ReadServicefile(file)
	if err != nil {
		l.add(where, "names a service, but the service file cannot be read", "set PGSERVICEFILE, or write ~/.pg_service.conf")
		return nil, false
	}
	found, err := parsed.GetService(service)
	if err != nil {
		l.add(where, "names a service that the service file does not have", "add a section with its name in square brackets")
		return nil, false
	}
	for name, text := range found.Settings {
		if f, bad := checkParam(name, true); bad {
			l.add(where, "names a service which "+f.detail, "take it out of the service file")
			return nil, false
		}
		if name == "dbname" {
			name = "database"
		}
		settings[name] = entry{text: text, source: "service file " + file}
	}
	return settings, true
}

// fillHome does what libpq does with the home directory: the password file and the certificates.
// HOME is taken from the given environment; without it nothing is read.
func (l *loader) fillHome(d *dsn, main bool) {
	passfile := d.params["passfile"]
	delete(d.params, "passfile")
	home := l.system["HOME"]
	if home == "" && passfile == "" {
		return
	}
	if home != "" {
		if passfile == "" {
			passfile = filepath.Join(home, ".pgpass")
		}
		dir := filepath.Join(home, ".postgresql")
		certificate, key, root := filepath.Join(dir, "postgresql.crt"), filepath.Join(dir, "postgresql.key"), filepath.Join(dir, "root.crt")
		if d.params["sslcert"] == "" && d.params["sslkey"] == "" && exists(certificate) && exists(key) {
			d.params["sslcert"], d.params["sslkey"] = certificate, key
		}
		if d.params["sslrootcert"] == "" && exists(root) {
			d.params["sslrootcert"] = root
		}
	}
	if d.password != "" || len(d.hosts) == 0 {
		return
	}
	entries, err := pgpassfile.ReadPassfile(passfile)
	if err != nil {
		return // as libpq: a password may not be needed
	}
	host := d.hosts[0].host
	if strings.HasPrefix(host, "/") {
		host = "localhost"
	}
	if d.password = entries.FindPassword(host, d.hosts[0].port, d.database, d.user); d.password != "" && main {
		l.parts = append(l.parts, Setting{Key: partKey(l.prefix, "password"), Value: Redacted, Source: "file " + passfile})
	}
}

// partKey names a part of the main connection string in a report.
func partKey(prefix, name string) string { return prefixed(prefix, "DATABASE_URL") + " " + name }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
