package pgmigrate

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// failure builds the error for the current step, and finds out what the database was left in.
func (r *run) failure(ctx context.Context, cause error) error {
	s := r.tracer.step
	e := &MigrationError{
		Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
		State: StateRolledBack, Database: -1, Err: cause,
	}
	var pgErr *pgconn.PgError
	if errors.As(cause, &pgErr) {
		e.Line = s.errorLine(pgErr.Position)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	conn := r.conn
	if conn.IsClosed() {
		e.State = StateUnknown
		fresh, err := r.m.connectReadOnly(ctx)
		if err != nil {
			fresh = nil // Database stays -1
		} else {
			defer disconnect(ctx, fresh)
		}
		conn = fresh
	}
	if !s.transactional {
		e.State = StatePartlyApplied
		e.Statement = s.statements
	}
	if conn == nil {
		return e
	}
	if version, _, err := r.m.readVersion(ctx, conn); err == nil {
		e.Database = version
	}
	if e.State == StatePartlyApplied {
		e.InvalidIndexes = invalidIndexes(ctx, conn)
	}
	return e
}

// invalidIndexes lists the database's invalid indexes. It is advice beside an error: what cannot be read is left out.
func invalidIndexes(ctx context.Context, conn *pgx.Conn) []string {
	rows, err := conn.Query(ctx, `
select i.indexrelid::regclass::text
from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relkind = 'i' order by 1`, pgx.QueryExecModeExec)
	if err != nil {
		return nil
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	return names
}
