package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/peterldowns/pgtestdb"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// testdbConfig says how pgtestdb reaches the server, and which role owns the databases.
func testdbConfig(server *pgserver.Server, superuser bool) (pgtestdb.Config, error) {
	u, err := url.Parse(server.URL())
	if err != nil {
		return pgtestdb.Config{}, errors.New("the server's connection string does not parse") // err would quote it
	}
	query := u.Query()
	host, port := u.Hostname(), u.Port()
	if host == "" { // a socket's directory does not fit into a URL's host
		host, port = "localhost", "5432"
	} else {
		host = bracketed(host)
		if port == "" {
			port = "5432"
		}
	}
	password, _ := u.User.Password()
	// pgtestdb puts both into a URL as they are.
	user, escaped, _ := strings.Cut(url.UserPassword(u.User.Username(), password).String(), ":")
	// pgtestdb remembers for the life of the process which roles and templates it made. A server
	// may stop within that life and another take its place: the role's name tells them apart, and
	// goes into the template's name. The password is not pgtestdb's published default, since the
	// server may be one that others can reach.
	id := sha256.Sum256([]byte("pgtest\x00" + server.URL()))
	secret := sha256.Sum256([]byte("pgtest role\x00" + password + "\x00" + server.URL()))
	role := pgtestdb.Role{
		Username:     "pgtest_" + hex.EncodeToString(id[:4]),
		Password:     hex.EncodeToString(secret[:16]),
		Capabilities: pgtestdb.DefaultRoleCapabilities,
	}
	if superuser {
		role.Username += "_su"
		role.Capabilities = "superuser"
	}
	return pgtestdb.Config{
		DriverName:                "pgx",
		Host:                      host,
		Port:                      port,
		User:                      user,
		Password:                  escaped,
		Database:                  url.PathEscape(trimSlash(u.Path)),
		Options:                   query.Encode(), // host and port in here win over the ones before
		TestRole:                  &role,
		ForceTerminateConnections: true,
	}, nil
}

func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

func trimSlash(path string) string {
	if path == "" || path == "/" {
		return "postgres"
	}
	return path[1:]
}
