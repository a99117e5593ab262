package lint

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
)

// relation describes a table, an index, a view or a sequence as the catalog does.
type relation struct {
	OID        uint32
	Schema     string
	Name       string
	Kind       string // pg_class.relkind
	File       uint32 // 0 if it has none; another one means that it was rewritten
	Partition  bool   // of another table
	Bound      string // of a partition: what holds for its rows
	Root       uint32 // the partitioned table at the top, itself for one that is no partition
	Table      uint32 // for an index its table, for a sequence its owner
	Constraint uint32 // for an index its constraint, if any

	Columns     map[string]column     // by pg_attribute.attnum
	Constraints map[string]constraint // by OID
	Triggers    map[string]string     // pg_trigger.tgenabled by name
	Policies    []string              // in order
	Secured     bool                  // row-level security is enabled
	ACL         string
}

type column struct {
	Name      string
	Type      string
	NotNull   bool
	Required  bool // NotNull, or its domain is
	Default   string
	Identity  string
	Generated string
}

type constraint struct {
	Name       string
	Type       string // pg_constraint.contype
	Validated  bool
	Local      bool // not only inherited
	Index      uint32
	References uint32
	Definition string
}

// table reports whether the relation, or its partitions, hold rows.
func (r *relation) table() bool { return r.Kind == "r" || r.Kind == "p" || r.Kind == "m" }

func (r *relation) view() bool { return r.Kind == "v" || r.Kind == "m" }

// String returns the name as one would write it.
func (r *relation) String() string { return qualified(r.Schema, r.Name) }

func qualified(schema, name string) string {
	if schema == "" || schema == "public" {
		return quote(name)
	}
	return quote(schema) + "." + quote(name)
}

var plainIdentifier = regexp.MustCompile(`\A[a-z_][a-z0-9_]*\z`)

func quote(name string) string {
	if plainIdentifier.MatchString(name) {
		return name
	}
	return pgx.Identifier{name}.Sanitize()
}

// 16384 is FirstNormalObjectId: lower OIDs belong to PostgreSQL. Temporary relations are left out,
// because no other session can wait for them.
const relationsWhere = `where pg_class.oid >= 16384 and pg_class.relkind in ('r', 'p', 'm', 'v', 'f', 'i', 'I', 'S')
	and pg_class.relpersistence <> 't' and pg_class.relnamespace <> 'pg_toast'::regnamespace`

const relationsSQL = `
select c.oid, jsonb_build_object('OID', c.oid::int8, 'Schema', n.nspname, 'Name', c.relname, 'Kind', c.relkind,
	'File', coalesce(pg_relation_filenode(c.oid), 0)::int8, 'Partition', c.relispartition, 'Bound',
		coalesce(pg_get_partition_constraintdef(c.oid), ''),
	'Root', coalesce(pg_partition_root(c.oid), c.oid)::oid::int8, 'Table', coalesce(i.indrelid,
		(select d.refobjid from pg_depend d where c.relkind = 'S' and d.classid = 'pg_class'::regclass
			and d.objid = c.oid and d.objsubid = 0
			and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') limit 1), 0)::int8,
	'Secured', c.relrowsecurity,
	'ACL', coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))::text ||
		coalesce((select string_agg(attname || attacl::text,
			' ' order by attnum) from pg_attribute where attrelid = c.oid and attacl is not null), ''),
	'Policies', (select jsonb_agg(polname order by polname) from pg_policy where polrelid = c.oid),
	'Constraint', coalesce((select d.refobjid from pg_depend d where d.classid = 'pg_class'::regclass
		and d.objid = c.oid and d.objsubid = 0
		and d.refclassid = 'pg_constraint'::regclass and d.deptype = 'i' limit 1), 0)::int8,
	'Columns', (select jsonb_object_agg(a.attnum, jsonb_build_object('Name', a.attname,
			'Type', format_type(a.atttypid,
				a.atttypmod) || coalesce((select ' collate ' || quote_ident(l.collname) from pg_collation l
				join pg_type y on y.oid = a.atttypid where l.oid = a.attcollation and l.oid <> y.typcollation), ''),
					'NotNull', a.attnotnull,
			'Required', a.attnotnull or (select y.typnotnull from pg_type y where y.oid = a.atttypid), 'Identity',
				a.attidentity, 'Generated', a.attgenerated,
			'Default', coalesce(pg_get_expr(d.adbin, d.adrelid), '')))
		from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
		where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'm', 'v', 'f')),
	'Constraints', (select jsonb_object_agg(k.oid, jsonb_build_object('Name', k.conname, 'Type', k.contype,
		'Validated', k.convalidated,
			'Local', k.conislocal, 'Index', k.conindid::int8, 'References', k.confrelid::int8, 'Definition',
				pg_get_constraintdef(k.oid)))
		from pg_constraint k where k.conrelid = c.oid),
	'Triggers', (select jsonb_object_agg(t.tgname, t.tgenabled) from pg_trigger t where t.tgrelid = c.oid
		and not t.tgisinternal)
)
from (select * from pg_class ` + relationsWhere + `) c join pg_namespace n on n.oid = c.relnamespace
	left join pg_index i on i.indexrelid = c.oid`

// readRelations reads those relations, or all if oids is nil.
func readRelations(ctx context.Context, conn *pgx.Conn, oids []uint32) (map[uint32]*relation, error) {
	sql := relationsSQL
	if oids != nil {
		sql = "execute pgmigrate_lint('" + arrayLiteral(oids) + "')"
	}
	// The simple protocol: a migration may have discarded prepared statements.
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	found := map[uint32]*relation{}
	var oid uint32
	var text []byte
	_, err = pgx.ForEachRow(rows, []any{&oid, &text}, func() error {
		r := &relation{}
		found[oid] = r
		return json.Unmarshal(text, r)
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	return found, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
