package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// recognize ignores the histories and version tables of other migrations folders too.
func recognize(ctx context.Context, cfg *pgx.ConnConfig, opts Options) (Options, []string, error) {
	conn, err := pgx.ConnectConfig(ctx, readOnly(cfg))
	if err != nil {
		return opts, nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select nspname from pg_class c join pg_namespace n on n.oid = relnamespace
		where relname = 'history' and relkind = 'r' and (select count(*) from pg_attribute
			where attrelid = c.oid and attname in ('version_table', 'version', 'checksum', 'action', 'progress')) = 5`)
	if err != nil {
		return opts, nil, fmt.Errorf("read histories: %w", err)
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return opts, nil, fmt.Errorf("read histories: %w", err)
	}
	var notes []string
	ownSchema, ownTable := opts.versionTable()
	for _, s := range schemas {
		opts.IgnoreSchemas = append(opts.IgnoreSchemas, s)
		rows, _ := conn.Query(ctx, "select distinct version_table from "+quoted(s)+".history order by 1")
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) {
			continue // a history that this role may not read
		}
		if err != nil {
			return opts, nil, fmt.Errorf("read histories: %w", err)
		}
		for _, t := range tables {
			if schema, table := splitName(t); schema == ownSchema && table == ownTable {
				continue
			}
			opts.IgnoreTables = append(opts.IgnoreTables, t)
			notes = append(notes, fmt.Sprintf("another folder, with version table %s, migrates this database: "+
				"leave its tables out with --ignore-schema or --ignore-table", t))
		}
	}
	return opts, notes, nil
}
