package shadow

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/lease"
)

var ourName = regexp.MustCompile(`^` + prefix + `([0-9a-f]{8})_[0-9]+$`)

// sweep drops the databases of processes that have ended. It does not force: a database with a
// session, such as one of a killed process's child, stays for the next sweep.
func sweep(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `select datname from pg_database where datname like 'pgmigrate\_shadow\_%'`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) == 0 {
		return err
	}
	living, err := lease.Living(ctx, conn, leaseSpace)
	if err != nil {
		return err
	}
	for _, name := range names {
		match := ourName.FindStringSubmatch(name)
		if match == nil || living[match[1]] {
			continue
		}
		_, err := conn.Exec(ctx, "drop database if exists "+quoted(name))
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) {
			continue // in use, another role's, or another sweep was faster
		}
		if err != nil {
			return fmt.Errorf("sweep %s: %w", name, err)
		}
	}
	return nil
}
