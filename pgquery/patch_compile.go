package pgquery

import (
	"reflect"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// patch is a compiled Patch.
type patch struct {
	*compiler
	table, where, always, returning piece
	columns                         []patchColumn
	version                         string // quoted, or ""
	seen                            int    // the field of the version
	look                            *decl.Text
	texts                           texts[uint64]
}

type patchColumn struct {
	name  string // quoted
	field int
}

// compiled compiles the declaration once. It returns a *DeclarationError for mistakes.
func (p *Patch[A, R]) compiled() (*patch, error) {
	p.once.Do(func() {
		c := newCompiler("Patch", p.Name, reflect.TypeFor[A](), reflect.TypeFor[R]())
		setters := slices.Concat(clauses, []string{"from", "returning"})
		p.patch = &patch{
			compiler: c, table: c.table(p.Table), where: c.readRequired("Where", p.Where, clauses...),
			returning: c.readRequired("Returning", p.Returning, setters...),
		}
		if p.Always != "" {
			p.patch.always = c.readRequired("Always", p.Always, setters...)
		}
		p.patch.addColumns(p.Columns, p.Version)
		c.finish()
	})
	return p.patch, p.patch.err
}

func (p *patch) addColumns(columns []string, version string) {
	if len(columns) == 0 || len(columns) > 64 {
		p.fail("Columns", "are %d, and must be 1 to 64", len(columns))
	}
	for i, column := range columns {
		where := "Columns[" + column + "]"
		at := p.field(where, "the column", column)
		p.columns = append(p.columns, patchColumn{quote(column), at})
		switch {
		case column == version || slices.Contains(columns[:i], column):
			p.fail(where, "is set twice")
		case at < 0:
		case p.fields[at].presence != byOptional:
			p.fail(where, "the field %s is not an Optional", p.fields[at].name)
		case slices.Contains(p.where.args, at):
			p.fail(where, "Where needs the field too")
		}
	}
	if version == "" {
		return
	}
	p.version, p.seen = quote(version), p.field("Version", "column "+version, version)
	if p.seen >= 0 && p.fields[p.seen].presence != required {
		p.fail("Version", "the field %s may be left out", p.fields[p.seen].name)
	}
	w := newWriter(p.name, "one")
	w.WriteString("select " + p.version + " from ")
	w.piece(p.table)
	p.writeWhere(w, false)
	p.look = w.end()
}

// given returns which columns args sets.
func (p *patch) given(args reflect.Value) (columns uint64) {
	for i, column := range p.columns {
		if _, ok := p.fields[column.field].read(args); ok {
			columns |= 1 << i
		}
	}
	return columns
}

// build returns the statement that sets the columns, or one that reads the row if there are none.
func (p *patch) build(columns uint64) *decl.Text {
	w := newWriter(p.name, "one")
	if columns == 0 {
		w.WriteString("select ")
		w.piece(p.returning)
		w.WriteString(" from ")
		w.piece(p.table)
		p.writeWhere(w, true)
		return w.end()
	}
	w.WriteString("update ")
	w.piece(p.table)
	separator := " set "
	for i, column := range p.columns {
		if columns&(1<<i) != 0 {
			w.WriteString(separator + column.name + " = ")
			w.param(decl.Param{Arg: column.field, Key: -1})
			separator = ", "
		}
	}
	if p.version != "" {
		w.WriteString(", " + p.version + " = " + p.version + " + 1")
	}
	if p.always.tokens != nil {
		w.WriteString(", ")
		w.piece(p.always)
	}
	p.writeWhere(w, true)
	w.WriteString(" returning ")
	w.piece(p.returning)
	return w.end()
}

func (p *patch) writeWhere(w *writer, version bool) {
	w.WriteString(" where (")
	w.piece(p.where)
	w.WriteByte(')')
	if version && p.version != "" {
		w.WriteString(" and " + p.version + " = ")
		w.param(decl.Param{Arg: p.seen, Key: -1})
	}
}

// Declaration describes the patch to package pgquerytest.
func (p *Patch[A, R]) Declaration() *decl.Declaration {
	c, err := p.compiled()
	d := c.describe()
	if err != nil {
		return d
	}
	w := newProbe(nil)
	w.WriteString("select * from ")
	w.piece(c.table)
	c.writeWhere(w, false)
	d.Patch = &decl.Patch{
		Table: strings.TrimSpace(p.Table), Columns: p.Columns, Version: p.Version, Rows: w.end(), Text: c.build,
		Conflict: c.look,
	}
	for _, column := range c.columns {
		d.Patch.NotNull = append(d.Patch.NotNull, c.fields[column.field].notNull)
	}
	return d
}
