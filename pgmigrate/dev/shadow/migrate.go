package shadow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
)

// Migrate applies or takes back migrations of the folder until the shadow is at version; 0 is an
// empty database. A shadow has no rows, so no migration waits for a backfill.
func (db *DB) Migrate(ctx context.Context, folder fs.FS, version int32) error {
	// Log nothing: the caller is not interested in the shadow.
	m, err := pgmigrate.New(db.config, folder,
		append([]pgmigrate.Option{pgmigrate.WithLogger(nil), pgmigrate.WithoutBackfills()}, db.opts.Migrate...)...)
	if err != nil {
		return err
	}
	err = db.withRoles(ctx, func() error {
		_, err := m.To(ctx, version)
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate the shadow database: %w%s", err, db.hint(err))
	}
	return nil
}

// Exec runs one or several statements in one transaction, as psql -1 does. Bodies of functions are
// not checked: a schema may define a function before the tables that it reads.
func (db *DB) Exec(ctx context.Context, sql string) error {
	cfg := db.Config()
	cfg.RuntimeParams["check_function_bodies"] = "off"
	return db.withRoles(ctx, func() error {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
		return err
	})
}

// PostgreSQL's message in English: a throwaway server has no other language.
var missingRole = regexp.MustCompile(`^role "(.+)" does not exist$`)

// withRoles repeats fn while it fails only because a role does not exist. It creates that role
// before each repetition.
func (db *DB) withRoles(ctx context.Context, fn func() error) error {
	last := ""
	for {
		err := fn()
		var pgErr *pgconn.PgError
		if err == nil || !db.host.ours() || !errors.As(err, &pgErr) || pgErr.Code != "42704" {
			return err
		}
		match := missingRole.FindStringSubmatch(pgErr.Message)
		if match == nil || match[1] == last {
			return err
		}
		last = match[1]
		if err := db.host.createRole(ctx, last); err != nil {
			return err
		}
	}
}

// hint says what to do about errors that happen on a shadow but not on the live database.
func (db *DB) hint(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	switch {
	case pgErr.Code == "42704" && missingRole.MatchString(pgErr.Message):
		return "; create it on the shadow's server, or let the migration create it"
	case pgErr.Code == "42710" && pgErr.Routine == "CreateRole":
		return "; roles belong to the server, which other databases share: create it only if it is missing"
	case (pgErr.Code == "0A000" || pgErr.Code == "58P01") && pgErr.File == "extension.c": // it is not available
		return "; if the extension is not installed here, name a server that has it with --shadow-url or " +
			"SHADOW_DATABASE_URL"
	}
	return ""
}
