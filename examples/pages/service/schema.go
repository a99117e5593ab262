package service

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
)

// NeededSchema is the version of the migrations that the queries of this binary need. A service
// reads the version that a deployment has migrated to, and compiles no migration tool for it.
const NeededSchema = 8

var schema = pghealth.SchemaFunc(func(
	ctx context.Context, conn *pgx.Conn,
) (current, needed int64, dirty bool, err error) {
	err = conn.QueryRow(ctx, "select version from public.schema_version").Scan(&current)
	return current, NeededSchema, false, err
})
