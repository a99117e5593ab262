package main

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

// hint says what to do about an error that the server or the network reports in its own words. It is "" where the error
// says so itself.
func hint(err error) string {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgerr.Of(err) == pgerr.Permission && strings.Contains(err.Error(), "create version table") {
			return "The role may not create tables in that schema. Migrate as the owner of the database, or grant create on the schema."
		}
		return ""
	}
	switch pgerr.Of(err) {
	case pgerr.Auth:
		return "The server refused the login: check user and password in DATABASE_URL (or DIRECT_DATABASE_URL)."
	case pgerr.Refused:
		return "No PostgreSQL answers at that address: start it, or check host and port in DATABASE_URL."
	case pgerr.DNS:
		return "The host name could not be resolved: check the host in DATABASE_URL."
	case pgerr.TLS:
		return "The encrypted connection failed: check sslmode and sslrootcert in DATABASE_URL."
	case pgerr.Config:
		return "The server refused the connection's settings: check the database name in DATABASE_URL, and create the database if it is missing."
	case pgerr.Timeout:
		return "The server did not answer in time: check host and port in DATABASE_URL, and firewalls."
	case pgerr.StartingUp, pgerr.TooManyConnections:
		return "The server cannot take a connection at the moment: try again."
	default:
		return ""
	}
}
