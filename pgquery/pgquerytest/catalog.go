package pgquerytest

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// catalog reads the server's catalog of types and tables.
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
	sql  string    // the name in a cast
	enum []string  // its labels
	elem *dataType // of an array
}

func (c *catalog) typ(oid uint32) *dataType {
	if t := c.types[oid]; t != nil {
		return t
	}
	t := &dataType{oid: oid, name: fmt.Sprintf("of OID %d", oid)}
	c.types[oid] = t
	var base, elem uint32
	_ = c.tx.QueryRow(c.ctx, `select typname, format_type(oid, null), typbasetype, case when typcategory = 'A' then
		typelem else 0 end,
		(select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = pg_type.oid)
		from pg_type where oid = $1`, oid).Scan(&t.name, &t.sql, &base, &elem, &t.enum)
	if base != 0 {
		*t = *c.typ(base)
	}
	if elem != 0 {
		t.elem = c.typ(elem)
	}
	return t
}

// table describes a table as the catalog does.
type table struct {
	notNull    map[string]bool
	hasDefault map[string]bool
	types      map[string]uint32
	isUnknown  bool // a materialized view: the catalog does not say which columns may be null
}

// table returns nil for a missing table.
func (c *catalog) table(name string) (*table, error) {
	if t := c.tables[name]; t != nil {
		return t, nil
	}
	t := &table{notNull: map[string]bool{}, hasDefault: map[string]bool{}, types: map[string]uint32{}}
	rows, err := c.tx.Query(c.ctx, `select attname, attnotnull or typnotnull, atthasdef or attidentity <> '', atttypid,
			relkind = 'm'
		from pg_attribute a join pg_type t on t.oid = atttypid join pg_class c on c.oid = attrelid
		where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`, name)
	if err != nil {
		return nil, err
	}
	var column string
	var notNull, hasDefault bool
	var oid uint32
	_, err = pgx.ForEachRow(rows, []any{&column, &notNull, &hasDefault, &oid, &t.isUnknown}, func() error {
		t.notNull[column], t.hasDefault[column], t.types[column] = notNull, hasDefault, oid
		return nil
	})
	if err != nil {
		return nil, err
	}
	// If the column's collation is not deterministic, an index with another collation may
	// distinguish texts that are equal for the column.
	c.tables[name] = t
	return t, nil
}

// textTypes take any string.
var textTypes = []string{"text", "varchar", "bpchar", "name", "citext"}

var integers = map[string]int{"int2": 16, "int4": 32, "int8": 64}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// argument returns what is wrong with a field for a parameter of the type: the server could refuse
// a value of the field, or pgx cannot encode it.
func (c *catalog) argument(t *dataType, typ reflect.Type) string {
	inner := unwrap(typ)
	bits, isInt := integers[t.name]
	problem := ""
	switch kind := inner.Kind(); {
	case kind == reflect.Slice && t.elem != nil:
		problem = c.argument(t.elem, typ.Elem())
	case t.enum != nil && kind == reflect.String:
		return checkEnum(t, inner)
	case t.enum != nil:
		problem = "make it a string type with a method Valid"
	case isInt && (isInteger(inner) && width(inner) > bits || isFloat(inner)):
		problem = "the server would refuse what does not fit"
	case kind == reflect.String && !slices.Contains(textTypes, t.name):
		problem = "the server would refuse some strings"
	case kind == reflect.Slice && inner.Elem().Kind() == reflect.Uint8 && slices.Contains(textTypes, t.name):
		problem = "the server would refuse some bytes: make it a string, which is looked at before it is sent"
	case (t.name == "json" || t.name == "jsonb") && typ == reflect.TypeFor[[]byte]():
		problem = "make it a json.RawMessage, which is looked at before it is sent"
	}
	m := c.tx.Conn().TypeMap()
	if problem == "" && m.PlanEncode(t.oid, m.FormatCodeForOID(t.oid), reflect.Zero(typ).Interface()) == nil {
		problem = "pgx does not encode it: register the type, or cast the argument"
	}
	return t.mismatch(typ, problem)
}

// mismatch returns a problem together with the types involved, or "".
func (t *dataType) mismatch(typ reflect.Type, problem string) string {
	switch {
	case problem == "" || strings.HasPrefix(problem, "is "): // of an element
		return problem
	case t.enum != nil:
		return fmt.Sprintf("is the enum %s, and the field is %s: %s", t.name, typ, problem)
	}
	return fmt.Sprintf("is %s, and the field is %s: %s", t.name, typ, problem)
}

// checkEnum requires a type that refuses unknown labels of the enum before they are sent.
func checkEnum(t *dataType, typ reflect.Type) string {
	valid := func(label string) bool {
		v := reflect.New(typ).Elem()
		v.SetString(label)
		return v.Interface().(interface{ Valid() bool }).Valid()
	}
	if !typ.Implements(reflect.TypeFor[interface{ Valid() bool }]()) {
		return t.mismatch(typ, "it takes any string; give it a method Valid, as sqlc's emit_enum_valid_method does")
	}
	for _, label := range t.enum {
		if !valid(label) {
			return t.mismatch(typ, fmt.Sprintf("the label %q is not Valid", label))
		}
	}
	if valid("no label of " + t.name) {
		return t.mismatch(typ, "any string is Valid")
	}
	return ""
}

// result returns what is wrong with a field for a column of the type.
func (c *catalog) result(t *dataType, typ reflect.Type) string {
	inner := unwrap(typ)
	problem := ""
	switch {
	case inner.Kind() == reflect.Slice && t.elem != nil:
		elem := inner.Elem()
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		problem = c.result(t.elem, elem)
	case t.enum != nil && inner.Kind() != reflect.String:
		problem = "make it a string type"
	case integers[t.name] != 0 && isInteger(inner) && width(inner) < integers[t.name]:
		problem = "it cannot hold all values"
	}
	if problem == "" && !c.decodes(t, typ) {
		problem = "pgx does not decode it"
	}
	return t.mismatch(typ, problem)
}

// samples has at least one value for each type of PostgreSQL. pgx decodes null into anything, so
// only a value shows whether it can decode the type.
var samples = []string{
	"null", "0", "{}", "2000-01-01", "00:00", "00000000-0000-0000-0000-000000000000", "::1", "empty",
}

// decodes reports whether pgx decodes a value of the server's type into a Go type.
func (c *catalog) decodes(t *dataType, typ reflect.Type) bool {
	target := reflect.New(typ)
	_, isScanner := target.Interface().(sql.Scanner)
	if isScanner && typ.PkgPath() != reflect.TypeFor[pgtype.Text]().PkgPath() {
		return true // it may refuse the sample but accept the column's values
	}
	for _, sample := range append(t.enum[:min(1, len(t.enum))], samples...) {
		rows, err := c.tx.Query(c.ctx, "select '"+strings.ReplaceAll(sample, "'", "''")+"'::"+t.sql,
			pgx.QueryExecModeDescribeExec)
		if err == nil && rows.Next() {
			err = rows.Scan(target.Interface())
			rows.Close()
			return err == nil
		}
		rows.Close()
		if _, err := c.tx.Exec(c.ctx, "rollback to pgquerytest"); err != nil {
			return false
		}
	}
	return true // an unknown type
}

// exactTypes are the types that pgx decodes and encodes without changing the value.
var exactTypes = []string{"bool", "float4", "float8", "uuid", "bytea", "timestamptz", "timestamp", "date"}

// key returns what is wrong with a column as part of a cursor.
func (c *catalog) key(t *dataType, k decl.Key, signed bool) string {
	typ := unwrap(k.Type)
	exact := slices.Contains(exactTypes, t.name)
	switch {
	case isFloat(typ) && (t.name == "numeric" || t.name == "float8" && typ.Kind() == reflect.Float32):
		return t.mismatch(typ, "it rounds, and a cursor would skip rows")
	case isInteger(typ):
		exact = integers[t.name] == width(typ)
	case typ.Kind() == reflect.String:
		exact = slices.Contains(textTypes, t.name) || t.enum != nil && checkEnum(t, typ) == ""
	}
	if !exact && !signed {
		return t.mismatch(typ, "a client could make a cursor that the server refuses; set Keys, or use the exact type")
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

func isFloat(t reflect.Type) bool { return t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 }

// width returns how many bits a signed integer needs to hold the values of t.
func width(t reflect.Type) int {
	if t.Kind() >= reflect.Uint {
		return t.Bits() + 1
	}
	return t.Bits()
}

var calls = regexp.MustCompile(`\b([a-z_][a-z0-9_]*)\(|\b(CURRENT_|LOCALTIME)`)

// changes reports an expression that may have another value in the next request: the time of the
// transaction, or a volatile function. Session settings do not count.
func (c *catalog) changes(expression string) bool {
	for _, call := range calls.FindAllStringSubmatch(expression, -1) {
		var volatile bool
		_ = c.tx.QueryRow(c.ctx, "select exists (select from pg_proc where proname = $1 and provolatile = 'v')",
			call[1]).Scan(&volatile)
		if volatile || call[2] != "" ||
			slices.Contains([]string{"now", "transaction_timestamp", "statement_timestamp"}, call[1]) {
			return true
		}
	}
	return false
}
