package pgquerytest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
)

// CheckConstraints compares declared constraints with a database with the schema. Each must exist
// and have the declared columns, if any. It fails t for each wrong one. db is a *pgxpool.Pool,
// *pgx.Conn or pgx.Tx.
func CheckConstraints(t testing.TB, db interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, constraints pgerr.Constraints,
) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(constraints)) {
		table, name, _ := strings.Cut(key, ".")
		rows, err := db.Query(t.Context(), `
			select array(select attname::text from unnest(keys) with ordinality k (num, nth)
				join pg_attribute on attrelid = to_regclass($1) and attnum = num order by nth)
			from (
				select conkey from pg_constraint where conrelid = to_regclass($1) and conname = $2
				union all select indkey::int2[] from pg_index join pg_class c on c.oid = indexrelid
					where indrelid = to_regclass($1) and indisunique and relname = $2
				union all select array[attnum] from pg_attribute
					where attrelid = to_regclass($1) and attnotnull and attname = $2
			) c (keys) limit 1`, table, name)
		if err != nil {
			t.Fatalf("pgquerytest: %v", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
		switch declared := constraints[key].Columns; {
		case err != nil:
			t.Fatalf("pgquerytest: %v", err)
		case len(found) == 0:
			t.Errorf("constraint %s: the database has none of that name", key)
		case declared != nil && sorted(declared) != sorted(found[0]):
			t.Errorf("constraint %s: is about %s, and %s are declared", key, sorted(found[0]), sorted(declared))
		}
	}
}

func sorted(columns []string) string {
	return strings.Join(slices.Sorted(slices.Values(columns)), ", ")
}
