package pgquery

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// RowTo returns a function for [pgx.CollectRows] and its family that reads a row into the struct R.
// Columns and fields must match by name, as for [pgx.RowToStructByName].
//
// A field that is a pointer to a struct and has a tag such as `db:"author.*"` takes the columns
// "author.id", "author.name" and so on. It is nil if all of them are null, as when an outer join
// finds nothing.
//
// Use the function for one result only. It is not safe for concurrent use.
func RowTo[R any]() pgx.RowToFunc[R] {
	s, err := newScanner(reflect.TypeFor[R]())
	var into []any
	return func(row pgx.CollectableRow) (R, error) {
		var r R
		if err != nil {
			return r, fmt.Errorf("pgquery: %w", err)
		}
		p, err := s.plan(row.FieldDescriptions())
		if err != nil {
			return r, fmt.Errorf("pgquery: %w", err)
		}
		if into == nil {
			into = make([]any, len(p.targets))
		}
		return r, p.scan(row, reflect.ValueOf(&r).Elem(), into)
	}
}

// Maybe reads the only row of a result with fn, and returns false if there is none. It closes rows.
// More than one row is [pgx.ErrTooManyRows].
func Maybe[T any](rows pgx.Rows, fn pgx.RowToFunc[T]) (value T, found bool, err error) {
	value, err = pgx.CollectExactlyOneRow(rows, fn)
	if errors.Is(err, pgx.ErrNoRows) {
		return value, false, nil
	}
	return value, err == nil, err
}

// column is a field of a row struct that takes a column.
type column struct {
	field
	group *group // nil, or the struct behind a pointer
}

// group is a pointer to a struct that is nil if all of its columns are null.
type group struct {
	prefix string
	index  []int
	typ    reflect.Type // of the struct
}

// scanner reads rows into structs of a type. It is safe for concurrent use.
type scanner struct {
	columns []column
	groups  []*group
	last    atomic.Pointer[plan]
}

func newScanner(t reflect.Type) (*scanner, error) {
	fields, err := fieldsOf(t)
	if err != nil {
		return nil, err
	}
	s := &scanner{}
	for _, f := range fields {
		prefix, isGroup := strings.CutSuffix(f.name, "*")
		if !f.tagged || !isGroup {
			s.columns = append(s.columns, column{field: f})
			continue
		}
		if f.declared.Kind() != reflect.Pointer || f.typ.Kind() != reflect.Struct {
			return nil, fmt.Errorf("field %s: %s is not a pointer to a struct", f.name, f.declared)
		}
		inner, err := fieldsOf(f.typ)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
		g := &group{prefix: prefix, index: f.index, typ: f.typ}
		s.groups = append(s.groups, g)
		for _, f := range inner {
			s.columns = append(s.columns, column{field: f, group: g})
		}
	}
	return s, nil
}

// indexOf returns the index of the column with that name in SQL, or -1.
func (s *scanner) indexOf(name string) int {
	for i := range s.columns {
		c := &s.columns[i]
		rest, ok := name, true
		if c.group != nil {
			rest, ok = strings.CutPrefix(name, c.group.prefix)
		}
		if ok && c.matches(rest) {
			return i
		}
	}
	return -1
}

// plan says which column of a result goes into which field.
type plan struct {
	*scanner
	names   []string
	targets []*column // one for each column of the result
}

// plan returns the plan for a result. It keeps the last one, because all results of a text look the
// same until a table changes.
func (s *scanner) plan(columns []pgconn.FieldDescription) (*plan, error) {
	if p := s.last.Load(); p != nil && p.fits(columns) {
		return p, nil
	}
	p := &plan{scanner: s}
	seen := make([]bool, len(s.columns))
	for _, d := range columns {
		i := s.indexOf(d.Name)
		switch {
		case i < 0:
			return nil, fmt.Errorf("column %q has no field in the row struct", d.Name)
		case seen[i]:
			return nil, fmt.Errorf("column %q occurs twice", d.Name)
		}
		seen[i] = true
		p.names = append(p.names, d.Name)
		p.targets = append(p.targets, &s.columns[i])
	}
	for i, ok := range seen {
		if !ok {
			return nil, fmt.Errorf("field %s of the row struct has no column", s.columns[i].path())
		}
	}
	s.last.Store(p)
	return p, nil
}

func (p *plan) fits(columns []pgconn.FieldDescription) bool {
	return slices.EqualFunc(columns, p.names, func(d pgconn.FieldDescription, name string) bool {
		return d.Name == name
	})
}

// scan reads a row. The slice into is scratch space of one element for each column.
func (p *plan) scan(row interface{ Scan(...any) error }, dst reflect.Value, into []any) error {
	for i, c := range p.targets {
		if c.group == nil {
			into[i] = dst.FieldByIndex(c.index).Addr().Interface()
		} else if into[i] == nil { // a pointer to a pointer, which is nil for null
			into[i] = reflect.New(reflect.PointerTo(c.declared)).Interface()
		}
	}
	if err := row.Scan(into...); err != nil {
		return err
	}
	for _, g := range p.groups {
		if err := p.fill(g, dst.FieldByIndex(g.index), into); err != nil {
			return err
		}
	}
	return nil
}

// fill sets the pointer dst to a struct with the columns of a group, or to nil.
func (p *plan) fill(g *group, dst reflect.Value, into []any) error {
	dst.SetZero()
	value := reflect.New(g.typ)
	missing := "" // a plain field with a null column
	for i, c := range p.targets {
		if c.group != g {
			continue
		}
		switch held := reflect.ValueOf(into[i]).Elem(); {
		case !held.IsNil():
			value.Elem().FieldByIndex(c.index).Set(held.Elem())
			dst.Set(value)
		case c.isPlain():
			missing = p.names[i]
		case c.presence == byOptional: // which is null then, and not absent
			field := value.Elem().FieldByIndex(c.index).Addr().Interface()
			if err := field.(sql.Scanner).Scan(nil); err != nil {
				return err
			}
		}
	}
	if !dst.IsNil() && missing != "" {
		return fmt.Errorf("pgquery: column %q is null, and others of %s* are not", missing, g.prefix)
	}
	return nil
}

// path returns the name of the column that the field takes.
func (c *column) path() string {
	if c.group != nil {
		return c.group.prefix + c.name
	}
	return c.name
}

// maxAllocated limits the memory for a page before its rows arrive.
const maxAllocated = 1000

// collect appends all rows of a result to page, and closes it.
func collect[R any](s *scanner, rows pgx.Rows, page []R) ([]R, error) {
	defer rows.Close()
	var p *plan
	var into []any
	for rows.Next() {
		if p == nil {
			var err error
			if p, err = s.plan(rows.FieldDescriptions()); err != nil {
				return nil, err
			}
			into = make([]any, len(p.targets))
		}
		var none R
		page = append(page, none)
		if err := p.scan(rows, reflect.ValueOf(&page[len(page)-1]).Elem(), into); err != nil {
			return nil, err
		}
	}
	return page, rows.Err()
}

// describe returns the columns for package pgquerytest.
func (s *scanner) describe() (columns []decl.Column) {
	for i := range s.columns {
		c := &s.columns[i]
		columns = append(columns, decl.Column{
			Name: c.path(), Type: c.typ, Nullable: !c.isPlain(), Embedded: c.group != nil,
		})
	}
	return columns
}
