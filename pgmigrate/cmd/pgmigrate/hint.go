package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
)

// hint says what to do about an error of the server or the network. It is "" if the error says so
// itself.
func hint(err error) string {
	if hint := resolveHint(err); hint != "" {
		return hint
	}
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgerr.Of(err) == pgerr.Permission &&
			strings.Contains(err.Error(), "create version table") {
			return "The role may not create tables in that schema. Migrate as the owner of the database, or grant " +
				"create on the schema."
		}
		if errors.As(err, &pgErr) && pgerr.Of(err) == pgerr.Permission &&
			strings.Contains(err.Error(), "create history schema") {
			return "The role may not create schemas. Let the owner of the database create it for the role: create " +
				"schema pgmigrate authorization ROLE."
		}
		return ""
	}
	switch pgerr.Of(err) {
	case pgerr.Auth:
		return "The server refused the login: check user and password in DATABASE_URL, or in DIRECT_DATABASE_URL if " +
			"it is set."
	case pgerr.Refused:
		return "No PostgreSQL answers at that address: start it, or check host and port in DATABASE_URL."
	case pgerr.DNS:
		return "The host name could not be resolved: check the host in DATABASE_URL."
	case pgerr.TLS:
		return "The encrypted connection failed: check sslmode and sslrootcert in DATABASE_URL."
	case pgerr.Config:
		return "The server refused the connection's settings: check the database name in DATABASE_URL, and create " +
			"the database if it is missing."
	case pgerr.Timeout:
		return "The server did not answer in time: check host and port in DATABASE_URL, and firewalls."
	case pgerr.StartingUp, pgerr.TooManyConnections:
		return "The server cannot take a connection at the moment: try again."
	default:
		return ""
	}
}

// resolveHint names the commands that a person can choose from.
func resolveHint(err error) string {
	var (
		dirty  *pgmigrate.DirtyError
		edited *pgmigrate.EditedError
		failed *pgmigrate.MigrationError
		gate   *pgmigrate.BackfillError
		state  *backfill.StateError
		batch  *backfill.BatchError
	)
	var version int32
	switch {
	case errors.As(err, &state) && state.State == backfill.StateCanceled:
		return "To start again at the first row: pgmigrate backfill run --restart " + state.Name
	case errors.As(err, &state) && state.State != backfill.StateFailed && !state.Edited:
		return ""
	case errors.As(err, &state):
		return "When the cause is fixed: pgmigrate backfill resume " + state.Name + ", then run it again"
	case errors.As(err, &batch):
		return "When the cause is fixed: pgmigrate backfill resume " + batch.Name + ", then run it again"
	case errors.As(err, &gate):
		return fmt.Sprintf("Run it: pgmigrate backfill run %s\nOr with the migrations: pgmigrate up --backfill",
			gate.Backfill)
	case errors.As(err, &dirty) && dirty.Repeatable:
		return fmt.Sprintf("The section may simply run again: pgmigrate %s", dirty.Direction)
	case errors.As(err, &dirty):
		version = dirty.Version
	case errors.As(err, &failed) && needsPerson(err):
		version = failed.Version
	case errors.As(err, &edited) && !edited.Foreign():
		return fmt.Sprintf("To accept the file as it is: pgmigrate resolve %d --applied", edited.Migrations[0].Version)
	default:
		return ""
	}
	return fmt.Sprintf(`All of migration %[1]d is in the database, finished by hand: pgmigrate resolve %[1]d --applied
Nothing of it is, undone by hand:                             pgmigrate resolve %[1]d --rolled-back`, version)
}
