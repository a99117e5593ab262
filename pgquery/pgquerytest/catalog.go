package pgquerytest

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// catalog answers what the server knows of types and tables.
type catalog struct {
	ctx    context.Context
	tx     pgx.Tx
	types  map[uint32]*dataType
	tables map[string]*table
}

// dataType is a type of the server; a domain is its base type.
type dataType struct {
	oid  uint32
	name string
	enum []string  // its labels
	elem *dataType // of an array
}

func (c *catalog) typ(oid uint32) *dataType {
	if t := c.types[oid]; t != nil {
		return t
	}
	if c.types == nil {
		c.types = map[uint32]*dataType{}
	}
	t := &dataType{oid: oid, name: fmt.Sprintf("of OID %d", oid)}
	c.types[oid] = t
	var base, elem uint32
	_ = c.tx.QueryRow(c.ctx, `select typname, typbasetype, case when typcategory = 'A' then typelem else 0 end,
		(select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = pg_type.oid)
		from pg_type where oid = $1`, oid).Scan(&t.name, &base, &elem, &t.enum)
	if base != 0 {
		*t = *c.typ(base)
	}
	if elem != 0 {
		t.elem = c.typ(elem)
	}
	return t
}

// table is what the catalog says of a table.
type table struct {
	notNull map[string]bool
	types   map[string]uint32
	unique  []index
}

type index struct {
	name      string
	columns   []string
	predicate string
}

// table returns nil for a table that is not there.
func (c *catalog) table(name string) (*table, error) {
	if t := c.tables[name]; t != nil {
		return t, nil
	}
	t := &table{notNull: map[string]bool{}, types: map[string]uint32{}}
	rows, err := c.tx.Query(c.ctx, `select attname, attnotnull, atttypid from pg_attribute
		where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`, name)
	if err != nil {
		return nil, err
	}
	var column string
	var notNull bool
	var oid uint32
	_, err = pgx.ForEachRow(rows, []any{&column, &notNull, &oid}, func() error {
		t.notNull[column], t.types[column] = notNull, oid
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = c.tx.Query(c.ctx, `select c.relname, array(
			select attname::text from unnest(i.indkey::int2[]) with ordinality k (num, nth)
			join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num where nth <= i.indnkeyatts),
			coalesce(pg_get_expr(i.indpred, i.indrelid), '')
		from pg_index i join pg_class c on c.oid = i.indexrelid
		where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid and i.indexprs is null`, name)
	if err != nil {
		return nil, err
	}
	t.unique, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i index, err error) {
		return i, row.Scan(&i.name, &i.columns, &i.predicate)
	})
	if c.tables == nil {
		c.tables = map[string]*table{}
	}
	c.tables[name] = t
	return t, err
}

// textTypes take any string.
var textTypes = []string{"text", "varchar", "bpchar", "name", "citext"}

var integers = map[string]int{"int2": 16, "int4": 32, "int8": 64}

// argument returns what is wrong with a field for a parameter of the type.
func (c *catalog) argument(t *dataType, typ reflect.Type) string {
	switch {
	case typ.Kind() == reflect.Slice && t.elem != nil:
		if problem := c.argument(t.elem, typ.Elem()); problem != "" {
			return problem
		}
	case t.enum != nil && unwrap(typ).Kind() == reflect.String:
		return checkEnum(t, typ)
	case t.enum != nil:
		return fmt.Sprintf("is the enum %s, and the field is %s: make it a string type with a method Valid", t.name, typ)
	}
	if bits, ok := integers[t.name]; ok && (isInteger(unwrap(typ)) || unwrap(typ).Kind() >= reflect.Float32 && unwrap(typ).Kind() <= reflect.Float64) {
		if width(unwrap(typ)) > bits || !isInteger(unwrap(typ)) {
			return fmt.Sprintf("is %s, and the field is %s: the server would refuse values that it cannot hold", t.name, typ)
		}
		return ""
	}
	if !slices.Contains(textTypes, t.name) && unwrap(typ).Kind() == reflect.String {
		return fmt.Sprintf("is %s, and the field is %s: the server would refuse some strings", t.name, typ)
	}
	if (t.name == "json" || t.name == "jsonb") && typ == reflect.TypeFor[[]byte]() {
		return fmt.Sprintf("is %s, and the field is []byte: make it a json.RawMessage, which is looked at before it is sent", t.name)
	}
	m := c.tx.Conn().TypeMap()
	if m.PlanEncode(t.oid, m.FormatCodeForOID(t.oid), reflect.Zero(typ).Interface()) == nil {
		return fmt.Sprintf("is %s, and pgx does not encode %s for it: register the type, or cast the argument", t.name, typ)
	}
	return ""
}

// checkEnum wants a type that refuses what the enum does not have, before it is sent.
func checkEnum(t *dataType, typ reflect.Type) string {
	valid := func(label string) bool {
		v := reflect.New(unwrap(typ)).Elem()
		v.SetString(label)
		return v.Interface().(interface{ Valid() bool }).Valid()
	}
	if !unwrap(typ).Implements(reflect.TypeFor[interface{ Valid() bool }]()) {
		return fmt.Sprintf("is the enum %s, and %s takes any string: give it a method Valid() bool, as sqlc does with emit_enum_valid_method", t.name, typ)
	}
	for _, label := range t.enum {
		if !valid(label) {
			return fmt.Sprintf("is the enum %s, whose label %q is not Valid for %s", t.name, label, typ)
		}
	}
	if valid("no label of " + t.name) {
		return fmt.Sprintf("is the enum %s, and any string is Valid for %s", t.name, typ)
	}
	return ""
}

// result returns what is wrong with a field for a column of the type.
func (c *catalog) result(t *dataType, typ reflect.Type) string {
	if typ.Kind() == reflect.Slice && t.elem != nil {
		elem := typ.Elem()
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		return c.result(t.elem, elem)
	}
	if bits, ok := integers[t.name]; ok && isInteger(unwrap(typ)) {
		if width(unwrap(typ)) < bits {
			return fmt.Sprintf("is %s, and the field is %s, which cannot hold all of its values", t.name, typ)
		}
		return ""
	}
	if t.enum != nil && unwrap(typ).Kind() != reflect.String {
		return fmt.Sprintf("is the enum %s, and the field is %s", t.name, typ)
	}
	m := c.tx.Conn().TypeMap()
	if m.Scan(t.oid, m.FormatCodeForOID(t.oid), nil, reflect.New(reflect.PointerTo(typ)).Interface()) != nil {
		return fmt.Sprintf("is %s, and pgx does not decode it into %s", t.name, typ)
	}
	return ""
}

// key returns what is wrong with a column as part of a cursor.
func (c *catalog) key(t *dataType, k decl.Key, signed bool) string {
	typ := unwrap(k.Type)
	exact := false
	switch {
	case t.name == "numeric" && (typ.Kind() == reflect.Float64 || typ.Kind() == reflect.Float32):
		return fmt.Sprintf("is numeric, which %s rounds: a cursor would skip rows", typ)
	case isInteger(typ):
		exact = integers[t.name] == width(typ)
	case typ.Kind() == reflect.String:
		exact = slices.Contains(textTypes, t.name) || t.enum != nil && checkEnum(t, typ) == ""
	case typ.Kind() == reflect.Float32:
		exact = t.name == "float4"
	default:
		exact = slices.Contains([]string{"bool", "float4", "float8", "uuid", "bytea", "timestamptz", "timestamp", "date"}, t.name)
	}
	if !exact && !signed {
		return fmt.Sprintf("is %s, and a cursor that is not signed could hold a %s that the server refuses: set Keys, or use the exact type", t.name, typ)
	}
	return ""
}

// unwrap returns the type of the value in a struct such as pgtype.Text or sql.Null.
func unwrap(t reflect.Type) reflect.Type {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[pgtype.Time]() {
		return t
	}
	valid, ok := t.FieldByName("Valid")
	if !ok || valid.Type.Kind() != reflect.Bool {
		return t
	}
	inner := t
	for i := range t.NumField() {
		switch f := t.Field(i); f.Name {
		case "Valid", "InfinityModifier":
		default:
			if inner != t {
				return t
			}
			inner = f.Type
		}
	}
	return inner
}

func isInteger(t reflect.Type) bool { return t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 }

// width returns how many bits a signed integer needs to hold the values of t.
func width(t reflect.Type) int {
	if t.Kind() >= reflect.Uint {
		return t.Bits() + 1
	}
	return t.Bits()
}
