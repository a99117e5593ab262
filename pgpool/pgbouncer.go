package pgpool

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// withoutStatements makes cfg work behind PgBouncer in transaction mode, in every version: before
// 1.21 it knows no named prepared statements, since then only with max_prepared_statements.
// Describing a statement without naming it works in all. An exec mode that the connection string
// asks for, or another than pgx's default, is left alone.
func withoutStatements(cfg *pgx.ConnConfig) bool {
	if cfg.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement || strings.Contains(cfg.ConnString(),
		"default_query_exec_mode") {
		return false
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	cfg.StatementCacheCapacity = 0
	return true
}

// dropLimits takes our settings out of what is sent, if err says that PgBouncer refuses one of
// them.
func dropLimits(cfg *pgxpool.Config, err error) bool {
	name := dial.RefusedSetting(err)
	if _, ok := cfg.ConnConfig.RuntimeParams[name]; !ok || !slices.Contains(dial.Limits[:], name) {
		return false
	}
	for _, name := range dial.Limits {
		delete(cfg.ConnConfig.RuntimeParams, name)
	}
	return true
}
