package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// source is the table of a backfill as the database knows it.
type source struct {
	table   string   // schema and name, quoted
	columns []string // of the key, quoted, of the table t
	types   []uint32
}

var errKey = errors.New("the key has to be the columns of a unique index, in its order, without a condition, all " +
	"ascending or all descending, and not null")

// findSource checks that no row is left out by the order of the key: a unique index over exactly
// its columns, none of which may be null, that covers all rows.
func findSource(ctx context.Context, conn *pgx.Conn, b *Backfill) (*source, error) {
	var (
		table          string
		quoted         []string
		types          []uint32
		unique, parent bool
	)
	err := conn.QueryRow(ctx, `
with key as (
  select k.n, a.* from unnest($2::text[]) with ordinality k(name, n)
  join pg_catalog.pg_attribute a on a.attrelid = to_regclass($1) and a.attnum > 0
    and array[a.attname::text] = parse_ident(k.name)
)
select format('%I.%I', n.nspname, c.relname),
  array(select format('t.%I', attname) from key order by n),
  array(select atttypid::int8 from key order by n),
  exists (
    select from pg_catalog.pg_index i
    where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
      and (select array_agg(attnum order by n) from key) =
        array(select unnest(i.indkey[0:i.indnkeyatts - 1]))
      and (select bool_and(attnotnull) from key)
      and (select bool_and(attcollation = i.indcollation[n - 1]) from key)
      and (select bool_and(opcdefault) from pg_catalog.pg_opclass where oid = any (i.indclass::oid[]))
      and (select count(distinct i.indoption[n - 1] & 1) from key) = 1),
  c.relkind <> 'p' and exists (select from pg_catalog.pg_inherits where inhparent = c.oid)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = to_regclass($1) and c.relkind in ('r', 'p')`, pgx.QueryExecModeExec, b.Table, b.Key).
		Scan(&table, &quoted, &types, &unique, &parent)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fmt.Errorf("backfill %s: there is no table %s", b.Name, b.Table)
	case err != nil:
		return nil, fmt.Errorf("backfill %s: read the table: %w", b.Name, err)
	case len(quoted) != len(b.Key):
		return nil, fmt.Errorf("backfill %s: table %s lacks a column of the key %s", b.Name, b.Table,
			strings.Join(b.Key, ","))
	case parent:
		return nil, fmt.Errorf("backfill %s: table %s has children by inheritance, whose keys no index keeps unique: "+
			"write a backfill for each", b.Name, b.Table)
	case !unique:
		return nil, fmt.Errorf("backfill %s: table %s, key %s: %w", b.Name, b.Table, strings.Join(b.Key, ","), errKey)
	}
	return &source{table: table, columns: quoted, types: types}, nil
}

// page is a query for the first and the last key of a range's next rows. It returns a row for each,
// as text, with the number of rows; one row if they are the same; none at the end.
func (s *source) page(g *keyRange) (sql string, args [][]byte, types []uint32) {
	condition, args, types := "true", [][]byte{fmt.Append(nil, g.size)}, []uint32{int8OID}
	for _, bound := range []struct {
		operator string
		key      []string
	}{{">", g.last}, {"<=", g.upper}} {
		if bound.key == nil {
			continue
		}
		var numbers []string
		for _, value := range bound.key {
			args = append(args, []byte(value))
			numbers = append(numbers, fmt.Sprintf("$%d", len(args)))
		}
		types = append(types, s.types...)
		condition += " and (" + strings.Join(s.columns, ", ") + ") " + bound.operator + " (" +
			strings.Join(numbers, ", ") + ")"
	}
	aliased, names, text := s.aliases()
	return "select n, " + text + " from (select " + names + ", count(*) over () as n, row_number() over (order by " +
		names + ") as r from (select " + aliased + " from " + s.table + " t where " + condition + " order by " +
		strings.Join(s.columns, ", ") + " limit $1) page) numbered where r = 1 or r = n order by r", args, types
}

// boundsSQL is a query for the last keys of all but the last of $1 parts of a sample of the table.
func (s *source) boundsSQL(percent float64) string {
	aliased, names, text := s.aliases()
	return "select " + text + " from (select distinct on (part) * from (select *, ntile($1::int) over (order by " +
		names + ") as part from (select " + aliased + " from " + s.table + " t tablesample system (" +
		strconv.FormatFloat(percent, 'f', -1, 64) + ")) sample) parts order by part, " +
		strings.ReplaceAll(names, ",", " desc,") + " desc) bounds where part < $1 order by part"
}

// aliases names the key's columns k1, k2 and so on.
func (s *source) aliases() (aliased, names, text string) {
	var a, n, t []string
	for i, column := range s.columns {
		name := fmt.Sprintf("k%d", i+1)
		a, n, t = append(a, column+" as "+name), append(n, name), append(t, name+"::text")
	}
	return strings.Join(a, ", "), strings.Join(n, ", "), strings.Join(t, ", ")
}

// estimate returns how many rows the planner expects, of all partitions.
func (s *source) estimate(ctx context.Context, conn *pgx.Conn) (int64, error) {
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	var text []byte
	err := conn.QueryRow(ctx, "explain (format json) select from "+s.table, pgx.QueryExecModeExec).Scan(&text)
	if err == nil {
		err = json.Unmarshal(text, &plans)
	}
	if err != nil || len(plans) != 1 {
		return 0, fmt.Errorf("estimate the rows of %s: %w", s.table, err)
	}
	return int64(plans[0].Plan.Rows), nil
}
