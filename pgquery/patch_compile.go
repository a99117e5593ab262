package pgquery

import (
	"reflect"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// patchTexts is a Patch without its type parameters.
type patchTexts struct {
	table, where, always, version, returning string
	columns                                  []string
}

// patch is a Patch that was put together.
type patch struct {
	*compiler
	name      string
	err       error // a *DeclarationError
	table     piece
	where     piece
	always    piece
	returning piece
	version   string // quoted, or ""
	seen      int    // the field of the version
	columns   []patchColumn
	look      *text // reads the version
	scan      *scanner
	source    *patchTexts
	texts     texts[uint64]
}

type patchColumn struct {
	name  string // quoted
	field int
}

func compilePatch(name string, args, row reflect.Type, d *patchTexts) *patch {
	c := newCompiler(name, args)
	p := &patch{compiler: c, name: name, source: d}
	var err error
	if p.scan, err = newScanner(row); err != nil {
		c.fail("row", "%v", err)
	}
	p.table = c.table(d.table)
	p.where = c.always("Where", d.where, clauses...)
	p.returning = c.always("Returning", d.returning, append(clauses, "from", "returning")...)
	if d.always != "" {
		p.always = c.always("Always", d.always, append(clauses, "from", "returning")...)
	}
	if len(d.columns) == 0 {
		c.fail("Columns", "are missing")
	}
	if len(d.columns) > 64 {
		c.fail("Columns", "are more than 64")
	}
	for i, column := range d.columns {
		p.column(column, slices.Contains(d.columns[:i], column))
	}
	if d.version != "" {
		p.setVersion()
	}
	c.unused()
	if p.err = c.err(name); p.err == nil && d.version != "" {
		p.look = p.lookText()
	}
	return p
}

func (p *patch) column(name string, again bool) {
	where := "Columns[" + name + "]"
	i := findField(p.fields, name)
	switch {
	case again || name == p.source.version:
		p.fail(where, "is set twice")
		return
	case i < 0:
		p.fail(where, "has no field in the argument struct; it has %s", p.fieldNames())
		return
	case p.fields[i].presence != byOptional:
		p.fail(where, "the field %s is not an Optional", p.fields[i].name)
		return
	case slices.Contains(p.where.args, i):
		p.fail(where, "Where needs the field too")
	}
	p.used[i] = true
	p.columns = append(p.columns, patchColumn{quote(name), i})
}

func (p *patch) setVersion() {
	p.version, p.seen = quote(p.source.version), findField(p.fields, p.source.version)
	if p.seen < 0 {
		p.fail("Version", "column %s has no field in the argument struct; it has %s", p.source.version, p.fieldNames())
		return
	}
	if p.fields[p.seen].presence != required {
		p.fail("Version", "the field %s may be left out", p.fields[p.seen].name)
	}
	p.used[p.seen] = true
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// given returns which columns args sets.
func (p *patch) given(args reflect.Value) (columns uint64) {
	for i, column := range p.columns {
		if _, ok := p.fields[column.field].read(args); ok {
			columns |= 1 << i
		}
	}
	return columns
}

func (p *patch) bind(t *text, args reflect.Value) ([]any, error) {
	values := make([]any, 0, len(t.params))
	for _, param := range t.params {
		value, err := p.fields[param.field].bind("patch "+p.name, args)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// build returns the statement that sets the columns.
func (p *patch) build(columns uint64) *text {
	w := &writer{}
	w.WriteString("-- name: " + p.name + " :one\n")
	if columns == 0 {
		w.WriteString("select ")
		w.piece(p.returning)
		w.WriteString(" from ")
		w.piece(p.table)
		p.writeWhere(w, true)
		return w.text()
	}
	w.WriteString("update ")
	w.piece(p.table)
	w.WriteString(" set ")
	for i, column := range p.columns {
		if columns&(1<<i) != 0 {
			w.WriteString(column.name + " = ")
			w.param(param{field: column.field, key: -1})
			w.WriteString(", ")
		}
	}
	if p.version != "" {
		w.WriteString(p.version + " = " + p.version + " + 1, ")
	}
	if p.always.tokens != nil {
		w.piece(p.always)
		w.WriteString(", ")
	}
	sql := strings.TrimSuffix(w.String(), ", ")
	w.Reset()
	w.WriteString(sql)
	p.writeWhere(w, true)
	w.WriteString(" returning ")
	w.piece(p.returning)
	return w.text()
}

func (p *patch) writeWhere(w *writer, version bool) {
	w.WriteString(" where (")
	w.piece(p.where)
	w.WriteByte(')')
	if version && p.version != "" {
		w.WriteString(" and " + p.version + " = ")
		w.param(param{field: p.seen, key: -1})
	}
}

func (p *patch) lookText() *text {
	w := &writer{}
	w.WriteString("-- name: " + p.name + " :one\nselect " + p.version + " from ")
	w.piece(p.table)
	p.writeWhere(w, false)
	return w.text()
}

// Declaration describes the patch to package pgquerytest.
func (p *Patch[A, R]) Declaration() *decl.Declaration {
	c, _ := p.compiled()
	d := &decl.Declaration{Kind: "Patch", Name: c.name, Problems: c.problems, Args: c.describe()}
	if c.err != nil {
		return d
	}
	d.Row, d.Named, d.IsArgument = c.scan.describe(), c.scan.named, c.isArgument
	d.Patch = &decl.Patch{
		Table: strings.TrimSpace(p.Table), Columns: p.Columns, Version: p.Version, Equals: equals(c.where),
		Text: func(columns []string) decl.Text {
			var mask uint64
			for i, column := range p.Columns {
				if slices.Contains(columns, column) {
					mask |= 1 << i
				}
			}
			return c.describeText(c.build(mask))
		},
	}
	if c.look != nil {
		d.Patch.Conflict = c.describeText(c.look)
	}
	return d
}

func (p *patch) describeText(t *text) decl.Text {
	d := decl.Text{SQL: t.sql}
	for _, param := range t.params {
		d.Params = append(d.Params, decl.Param{Argument: p.fields[param.field].name})
	}
	return d
}

// equals returns the columns that a condition compares with an argument, for a condition of
// comparisons that "and" joins.
func equals(where piece) (columns []string) {
	words := make([]lex.Token, 0, len(where.tokens))
	for _, t := range where.tokens {
		if t.Kind != lex.Space {
			words = append(words, t)
		}
	}
	for i, t := range words {
		if t.Depth > 0 {
			continue
		}
		if t.Kind == lex.Word && (strings.EqualFold(t.Text, "or") || strings.EqualFold(t.Text, "not")) {
			return nil
		}
		if t.Kind == lex.Argument && i >= 2 && words[i-1].Text == "=" && words[i-2].Kind == lex.Word {
			columns = append(columns, strings.ToLower(words[i-2].Text))
		}
	}
	return columns
}
