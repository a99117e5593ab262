package expand

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// facts are what the catalog says of the table and the column. Names are quoted where they must be,
// but for those that are called raw.
type facts struct {
	Schema, Table, RawSchema, RawTable, Kind string
	Temporary, Parent, Child, Typed          bool

	Column, RawColumn, Type, Collate string
	Number                           int
	NotNull, Exact, Partitioning     bool
	Default, Generated, Identity     string
	Comment                          string
	Grants                           []string // with %s for the column
	Storage                          []string // what ALTER COLUMN sets

	Key         []string // of the backfill
	Indexes     []index
	Constraints []constraint
	References  []string // foreign keys of other tables, and of this one, to the column
	Sequences   []string // that the column owns
	Others      []string // what else depends on the column
	Triggers    []string // that run before a row is written
}

type index struct {
	Name, RawName, Definition, Rest string // Rest is what follows the table's name
	Unique, Replica                 bool
}

type constraint struct {
	Name, RawName, Type, Definition string
	Columns                         []string // of a foreign key
	Refers                          string   // type of the column that the column refers to
	Rest                            string   // of an index, if the constraint has one
	Plain                           bool     // a unique index alone makes it
}

// rest is SQL for what follows the table's name in the definition of the index i of the table c.
const rest = `substr(pg_get_indexdef(i.indexrelid), strpos(pg_get_indexdef(i.indexrelid),
	' USING ' || (select amname from pg_am where oid = x.relam) || ' ('))`

const factsSQL = `
with a as (
  select a.*, t.typtype, t.typcollation, t.typstorage from pg_attribute a join pg_type t on t.oid = a.atttypid
  where a.attrelid = $1 and a.attname = $2 and a.attnum > 0 and not a.attisdropped
), dep as (
  select d.classid, d.objid, d.objsubid, d.deptype from pg_depend d, a
  where d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.refobjsubid = a.attnum
)
select jsonb_build_object(
  'Schema', quote_ident(n.nspname), 'Table', quote_ident(c.relname), 'RawSchema', n.nspname, 'RawTable', c.relname,
  'Kind', c.relkind, 'Temporary', c.relpersistence = 't',
  'Parent', c.relkind <> 'p' and exists (select from pg_inherits where inhparent = c.oid),
  'Child', a.attinhcount > 0, 'Typed', c.reloftype <> 0,
  'Column', quote_ident(a.attname), 'RawColumn', a.attname, 'Number', a.attnum,
  'Type', format_type(a.atttypid, a.atttypmod), 'Collate', case when a.attcollation <> a.typcollation then
    (select format(' collate %I.%I', s.nspname, l.collname) from pg_collation l join pg_namespace s
      on s.oid = l.collnamespace where l.oid = a.attcollation) else '' end,
  'NotNull', a.attnotnull, 'Exact', ` + exact + `,
  'Partitioning', exists (select from pg_partitioned_table p where p.partrelid = c.oid and
    (a.attnum = any (p.partattrs) or exists (select from dep where classid = 'pg_class'::regclass and objid = c.oid))),
  'Default', case when a.attgenerated = '' then
    (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = c.oid and adnum = a.attnum) end,
  'Generated', a.attgenerated, 'Identity', a.attidentity, 'Comment', col_description(c.oid, a.attnum),
  'Grants', (select jsonb_agg(format('grant %s (%%s) on %I.%I to %s%s', lower(g.privilege_type), n.nspname, c.relname,
      case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
      case when g.is_grantable then ' with grant option' else '' end)) from aclexplode(a.attacl) g),
  'Storage', (select jsonb_agg(s) from (
    select 'set statistics ' || a.attstattarget where a.attstattarget >= 0
    union all select 'set storage ' || case a.attstorage
      when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main'
      else 'extended' end where a.attstorage <> a.typstorage
    union all select format('set (%s)', o) from unnest(a.attoptions) o where o like 'n\_distinct%'
    union all select 'set compression ' || case a.attcompression when 'p' then 'pglz' else 'lz4' end
      where a.attcompression::text <> '') o(s)),
  'Key', (select to_jsonb(k.names) from (
    select i.indisprimary, array_agg(quote_ident(ka.attname) order by o.n) as names from pg_index i,
      unnest(i.indkey[0:i.indnkeyatts - 1]) with ordinality o(attnum, n)
      join pg_attribute ka on ka.attrelid = $1 and ka.attnum = o.attnum
    where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
      and (select bool_and(opcdefault) from pg_opclass where oid = any (i.indclass::oid[]))
    group by i.indexrelid, i.indisprimary, i.indcollation, i.indoption, i.indnkeyatts
    having bool_and(ka.attnotnull) and bool_and(ka.attcollation = i.indcollation[o.n - 1])
      and count(distinct i.indoption[o.n - 1] & 1) = 1
    order by i.indisprimary desc, i.indnkeyatts, i.indexrelid limit 1) k),
  'Indexes', (select jsonb_agg(jsonb_build_object('Name', quote_ident(x.relname), 'RawName', x.relname,
      'Definition', pg_get_indexdef(i.indexrelid), 'Unique', i.indisunique, 'Replica', i.indisreplident,
      'Rest', ` + rest + `) order by x.relname)
    from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid and i.indisvalid
      and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
      and (a.attnum = any (i.indkey)
        or exists (select from dep where classid = 'pg_class'::regclass and objid = x.oid))),
  'Constraints', (select jsonb_agg(jsonb_build_object('Name', quote_ident(k.conname), 'RawName', k.conname,
      'Type', k.contype, 'Definition', pg_get_constraintdef(k.oid),
      'Columns', (select jsonb_agg(quote_ident(ka.attname) order by o.n)
        from unnest(k.conkey) with ordinality o(attnum, n)
        join pg_attribute ka on ka.attrelid = c.oid and ka.attnum = o.attnum),
      'Refers', (select format_type(ka.atttypid, ka.atttypmod) from pg_attribute ka
        where ka.attrelid = k.confrelid and ka.attnum = k.confkey[array_position(k.conkey, a.attnum)]),
      'Rest', (select ` + rest + ` from pg_index i join pg_class x on x.oid = i.indexrelid
        where i.indexrelid = k.conindid and k.contype in ('p', 'u')),
      'Plain', k.contype in ('p', 'u') and pg_get_constraintdef(k.oid) not like '%WITHOUT OVERLAPS%'
        and not exists (select from pg_index where indexrelid = k.conindid and indisreplident)) order by k.conname)
    from pg_constraint k where k.conrelid = c.oid and k.contype in ('p', 'u', 'x', 'c', 'f')
      and (a.attnum = any (k.conkey)
        or exists (select from dep where classid = 'pg_constraint'::regclass and objid = k.oid))),
  'References', (select jsonb_agg(format('%I of %s', k.conname, k.conrelid::regclass)) from pg_constraint k
    where k.contype = 'f' and k.confrelid = c.oid and a.attnum = any (k.confkey)),
  'Sequences', (select jsonb_agg(format('%I.%I', qn.nspname, q.relname)) from dep join pg_class q on q.oid = dep.objid
    join pg_namespace qn on qn.oid = q.relnamespace
    where dep.classid = 'pg_class'::regclass and dep.deptype = 'a' and q.relkind = 'S'),
  'Others', (select jsonb_agg(distinct pg_describe_object(classid, objid, objsubid)) from dep
    where not (classid = 'pg_class'::regclass and objid in (select indexrelid from pg_index where indrelid = c.oid))
      and not (classid = 'pg_class'::regclass and deptype = 'a')
      and not (classid = 'pg_constraint'::regclass and objid in (select oid from pg_constraint where conrelid = c.oid))
      and not (classid = 'pg_attrdef'::regclass and objid in (select oid from pg_attrdef where adrelid = c.oid and
        adnum = a.attnum))),
  'Triggers', (select jsonb_agg(quote_ident(tgname) order by tgname) from pg_trigger where tgrelid = c.oid
    and not tgisinternal and tgtype & 3 = 3 and tgtype & 20 <> 0)
)
from pg_class c join pg_namespace n on n.oid = c.relnamespace, a where c.oid = $1`

// exact is SQL for whether values of a type that are equal are the same: it is not so for numeric
// (1.0 and 1.00), citext, intervals and others, and some types have no equality.
const exact = `(a.typtype = 'e' or a.atttypid = any ('{bool,"\"char\"",name,bytea,int2,int4,int8,oid,text,varchar,
  uuid,date,time,timestamp,timestamptz}'::regtype[])) and coalesce((select collisdeterministic from pg_collation
  where oid = a.attcollation), true)`

// reader asks the database in one transaction.
type reader struct {
	ctx  context.Context
	tx   pgx.Tx
	copy string // an empty temporary copy of the table
}

// run executes SQL. After an error the transaction goes on as before.
func (r reader) run(sql string) error {
	nested, err := r.tx.Begin(r.ctx)
	if err != nil {
		return err
	}
	if _, err := nested.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return errors.Join(err, nested.Rollback(r.ctx))
	}
	return nested.Commit(r.ctx)
}

func (r reader) list(sql string, args ...any) ([]string, error) {
	rows, err := r.tx.Query(r.ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (r reader) text(sql string, args ...any) (text string, err error) {
	err = r.tx.QueryRow(r.ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&text)
	return text, err
}

// identifier reads a name as SQL does.
func (r reader) identifier(name string) (raw, quoted string, err error) {
	err = r.tx.QueryRow(r.ctx, "select p[1], quote_ident(p[1]) from parse_ident($1) p where cardinality(p) = 1",
		pgx.QueryExecModeExec, name).Scan(&raw, &quoted)
	if err != nil {
		return "", "", fmt.Errorf("column %s: write one name as in SQL, with double quotes where they are needed", name)
	}
	return raw, quoted, nil
}

// facts reads the catalog. From then on every name outside of pg_catalog needs its schema, so that
// no expression means something else to another role.
func (r *reader) facts(table, column string) (*facts, error) {
	raw, _, err := r.identifier(column)
	if err != nil {
		return nil, err
	}
	var oid *uint32
	err = r.tx.QueryRow(r.ctx, "select to_regclass($1)::oid", pgx.QueryExecModeExec, table).Scan(&oid)
	switch {
	case err != nil:
		return nil, fmt.Errorf("table %s: %s", table, message(err))
	case oid == nil:
		return nil, fmt.Errorf("there is no table %s", table)
	}
	if err := r.run("set local search_path = ''"); err != nil {
		return nil, err
	}
	var text []byte
	err = r.tx.QueryRow(r.ctx, factsSQL, pgx.QueryExecModeExec, *oid, raw).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("table %s has no column %s", table, column)
	}
	f := &facts{}
	if err == nil {
		err = json.Unmarshal(text, f)
	}
	if err != nil {
		return nil, fmt.Errorf("read the table: %w", err)
	}
	return f, f.refuse()
}

// refuse says why the column cannot be changed this way.
func (f *facts) refuse() error {
	name := f.Column + " of " + f.Schema + "." + f.Table
	var reason string
	switch {
	case f.Kind != "r" && f.Kind != "p" || f.Temporary:
		return fmt.Errorf("%s.%s is no ordinary table", f.Schema, f.Table)
	case f.Generated != "":
		reason = "it is a generated column, which nothing but its expression fills: add another " +
			"generated column instead"
	case f.Identity != "":
		reason = "it is an identity column: its numbers cannot come from two columns. Drop the identity first, and " +
			"set a sequence as the default"
	case f.Partitioning:
		reason = "the table is partitioned by it: make a new table"
	case f.Typed:
		reason = "the table takes its columns from a type: alter table … not of first"
	case f.Child:
		reason = "it is inherited: change the parent table"
	case f.Parent:
		reason = "the table has children by inheritance, and a backfill cannot go through them"
	case len(f.References) > 0:
		reason = "foreign keys refer to it: " + strings.Join(f.References, ", ") +
			". Drop them first, or change both by hand"
	case len(f.Key) == 0:
		reason = "the table has no key for a backfill: a primary key, or a unique index of columns that are not null"
	default:
		return nil
	}
	return fmt.Errorf("%s: %s", name, reason)
}

// message is what the server says.
func message(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err.Error()
	}
	if pgErr.Hint != "" {
		return pgErr.Message + ": " + pgErr.Hint
	}
	return pgErr.Message
}
