// Package index reads what became of concurrent index builds.
package index

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// State is what the catalog says of an index.
type State int

// The states.
const (
	Missing State = iota
	Invalid
	Building // by another session
	Valid
)

// Read reads the state of an index. It asks twice before it calls one invalid: another session may
// finish its build between the catalog and its progress.
func Read(ctx context.Context, conn *pgx.Conn, name string) (State, error) {
	state, err := read(ctx, conn, name)
	if err != nil || state != Invalid {
		return state, err
	}
	return read(ctx, conn, name)
}

// read recognizes a build of another role, whose progress is hidden but for its pid, by its lock on
// the table.
func read(ctx context.Context, conn *pgx.Conn, name string) (State, error) {
	var valid, building bool
	err := conn.QueryRow(ctx, `
select i.indisvalid, exists (select from pg_catalog.pg_stat_progress_create_index p
  where p.pid <> pg_backend_pid() and (p.index_relid = i.indexrelid or p.index_relid is null and exists (
    select from pg_catalog.pg_locks l
    where l.pid = p.pid and l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.granted)))
from pg_catalog.pg_index i where i.indexrelid = pg_catalog.to_regclass($1)`, pgx.QueryExecModeExec,
		name).Scan(&valid, &building)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Missing, nil
	case err != nil:
		return Missing, fmt.Errorf("look at index %s: %w", name, err)
	case valid:
		return Valid, nil
	case building:
		return Building, nil
	default:
		return Invalid, nil
	}
}

// IsBusy reports whether another session builds an index on the table. relation is the table, or an
// index on it. The role need not see the other session's progress.
func IsBusy(ctx context.Context, conn *pgx.Conn, relation string) (busy bool, err error) {
	err = conn.QueryRow(ctx, `
select exists (select from pg_catalog.pg_stat_progress_create_index p join pg_catalog.pg_locks l on l.pid = p.pid
  where p.pid <> pg_backend_pid() and l.mode = 'ShareUpdateExclusiveLock' and l.granted
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    and l.relation = coalesce((select indrelid from pg_catalog.pg_index
      where indexrelid = pg_catalog.to_regclass($1)), pg_catalog.to_regclass($1)::oid))`,
		pgx.QueryExecModeExec, relation).Scan(&busy)
	if err != nil {
		return false, fmt.Errorf("look for index builds on %s: %w", relation, err)
	}
	return busy, nil
}

// QualifiedName returns the name, with its schema, of the index that a statement builds or drops.
// It is "" if the table of the build or the index to drop does not exist.
func QualifiedName(ctx context.Context, conn *pgx.Conn, c sqlscan.Class) (string, error) {
	relation := c.Table // an index is in its table's schema
	if c.Drops {
		relation = c.Index
	}
	var schema, name string
	err := conn.QueryRow(ctx, `
select quote_ident(n.nspname), quote_ident(c.relname)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = pg_catalog.to_regclass($1)`, pgx.QueryExecModeExec, relation).Scan(&schema, &name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", relation, err)
	}
	if !c.Drops {
		name = c.Index
	}
	return schema + "." + name, nil
}

// ListInvalid returns the database's invalid indexes. It is advice that accompanies an error: what
// cannot be read is left out.
func ListInvalid(ctx context.Context, conn *pgx.Conn) []string {
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
