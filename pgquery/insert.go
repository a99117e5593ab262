package pgquery

import (
	"context"
	"database/sql/driver"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// Insert declares an INSERT or upsert of many rows. It sends one statement with one array for each
// column. A is the struct of a row to insert, R the struct of a returned row.
//
// An Insert is safe for concurrent use and must not be changed or copied after its first use.
type Insert[A, R any] struct {
	// Name is a word that identifies the insert in traces.
	Name string

	// Table is the table's name, with its schema if need be.
	Table string

	// Columns are the columns with their types, as in CREATE TABLE: "page bigint, name text". Each
	// has a field of the same name in A. An array cannot be a column: use pgx's CopyFrom.
	Columns string

	// Conflict follows ON CONFLICT: "(page, name) do update set seen = excluded.seen".
	// Defaults to nothing. Two rows of one call must not conflict with each other.
	Conflict string

	// Returning lists the returned columns, which are the fields of R.
	Returning string

	once   sync.Once
	insert *insert
}

// insert is a compiled Insert.
type insert struct {
	*compiler
	text    *decl.Text
	columns []int // the fields
	names   []string
}

// Apply inserts the rows and returns one row for each inserted or updated row, in no particular
// order. A value that the server would refuse is an [ArgumentError]. Without rows it sends nothing.
func (i *Insert[A, R]) Apply(ctx context.Context, db DB, rows []A) ([]R, error) {
	c, err := i.compiled()
	if err != nil || len(rows) == 0 {
		return []R{}, err
	}
	all := reflect.ValueOf(rows)
	arrays := make([]any, len(c.columns))
	for at, column := range c.columns {
		f := &c.fields[column]
		array := reflect.MakeSlice(reflect.SliceOf(f.declared), len(rows), len(rows))
		for n := range rows {
			v := all.Index(n).FieldByIndex(f.index)
			if reason := checkSent(v); reason != valuedNull {
				if err := c.refuse(f.name, reason); err != nil {
					return nil, err
				}
			}
			array.Index(n).Set(v)
		}
		arrays[at] = array.Interface()
		switch {
		case f.typ.Kind() == reflect.String:
			arrays[at] = arrayText(array)
		case isUUID(f.typ):
			arrays[at] = uuids(array)
		}
	}
	return run[R](ctx, db, c.compiler, c.text, arrays, len(rows))
}

// arrayText returns strings as the text of an array. The server reads it with the input function of
// the declared type. pgx does not know arrays of enums, and an explicit cast from text[] would cut
// values that are too long for a domain.
func arrayText(array reflect.Value) string {
	var b strings.Builder
	separator := "{"
	for i := range array.Len() {
		b.WriteString(separator)
		separator = ","
		text, isNull := textOf(array.Index(i))
		if isNull {
			b.WriteString("NULL")
			continue
		}
		b.WriteString(`"` + arrayEscaper.Replace(text) + `"`)
	}
	return b.String() + "}"
}

var arrayEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// textOf returns the string that pgx would send for v, a string or a pointer to one. The caller has
// already called its driver.Valuer without an error.
func textOf(v reflect.Value) (text string, isNull bool) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return "", true
	}
	if valuer, ok := v.Interface().(driver.Valuer); ok {
		value, _ := valuer.Value()
		if b, ok := value.([]byte); ok {
			return string(b), b == nil
		}
		return fmt.Sprint(value), value == nil
	}
	return reflect.Indirect(v).String(), false
}

// compiled compiles the declaration once. It returns a *DeclarationError for mistakes.
func (i *Insert[A, R]) compiled() (*insert, error) {
	i.once.Do(func() {
		c := newCompiler("Insert", i.Name, reflect.TypeFor[A](), reflect.TypeFor[R]())
		i.insert = &insert{compiler: c}
		w := newWriter(i.Name, "many")
		w.WriteString("insert into ")
		w.piece(c.table(i.Table))
		names, casts := i.insert.readColumns(i.Columns)
		w.WriteString(" (" + strings.Join(names, ", ") + ") select * from unnest(" + strings.Join(casts, ", ") + ")")
		if i.Conflict != "" {
			w.WriteString(" on conflict ")
			w.piece(c.readStatic("Conflict", i.Conflict, "returning"))
		}
		w.WriteString(" returning ")
		w.piece(c.readStatic("Returning", i.Returning, slices.Concat(clauses, []string{"from", "returning"})...))
		i.insert.text = w.end()
		c.finish()
	})
	return i.insert, i.insert.err
}

// readColumns reads the columns and returns their names and the casts of their arrays.
func (i *insert) readColumns(text string) (names, casts []string) {
	for n, words := range splitCommas(i.readStatic("Columns", text).tokens) {
		if len(words) < 2 || words[len(words)-1] == "]" {
			i.fail("Columns", "each must be a name and a type that is not an array, as in CREATE TABLE")
			return nil, nil
		}
		name, typ := unquote(words[0]), castType(words[1:])
		at := i.field("Columns["+name+"]", "the column", name)
		if at < 0 {
			return nil, nil
		}
		f := &i.fields[at]
		if f.presence == byOptional {
			i.fail("Columns["+name+"]", "the field %s is an Optional: some rows cannot leave out a column", f.name)
		}
		i.columns, i.names = append(i.columns, at), append(i.names, name)
		names, casts = append(names, quote(name)), append(casts, fmt.Sprintf("$%d::%s[]", n+1, typ))
	}
	return names, casts
}

// castType returns a type without its length, because an explicit cast would cut a long value. The
// assignment to the column then returns an error for it. In SQL char, nchar and bit without a
// length have the length 1, so they become types without a length.
func castType(words []string) string {
	kept := make([]string, 0, len(words))
	depth := 0
	for _, word := range words {
		switch word {
		case "(":
			depth++
		case ")":
			depth--
		default:
			if depth == 0 {
				kept = append(kept, word)
			}
		}
	}
	switch typ := strings.Join(kept, " "); strings.ToLower(typ) {
	case "char", "character", "nchar", "national char", "national character":
		return "bpchar"
	case "bit":
		return "varbit"
	default:
		return typ
	}
}

// Declaration describes the insert to package pgquerytest.
func (i *Insert[A, R]) Declaration() *decl.Declaration {
	c, err := i.compiled()
	d := c.describe()
	if err != nil {
		return d
	}
	d.Text = c.text
	d.Insert = &decl.Insert{Table: strings.TrimSpace(i.Table)}
	for at, column := range c.columns {
		f := &c.fields[column]
		d.Insert.Columns = append(d.Insert.Columns, decl.Column{
			Name: c.names[at], Type: f.typ, Nullable: f.declared.Kind() == reflect.Pointer,
		})
	}
	return d
}
