package pgconfig

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgpassfile"

	"github.com/page-builder/persistence/pgconfig/internal/dsn"
)

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
	// libpq takes the name of the system's user. Over TCP, a missing user is usually a mistake. On
	// a socket, "peer" authentication relies on it.
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

// settleCertificates handles a client certificate without a key. In a connection string it has
// Prisma's meaning: the authority's certificate. Elsewhere it has libpq's meaning, and must never
// become an authority that vouches for the server.
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

// fillPassword takes the password from the pass file. libpq looks one up for each host. pgx logs in
// to all hosts with one password, so all hosts must have the same.
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
			if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
				l.note(c.key, "the pass file may be read by others, so psql does not use it: chmod 600")
			}
		}
	}
	if missing && c.Password != "" {
		l.note(c.key, "the pass file has a line for some of the hosts: its password goes to all")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
