package pgquery

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// declaration is a List without its type parameters.
type declaration struct {
	name, query, where string
	filters            map[string]string
	sorts              map[string]string
	sizes              []int
	open               bool
	replan             bool
	signed             bool
	args, row          reflect.Type
}

// list is a List that was put together.
type list struct {
	*compiler
	name    string
	err     error // a *DeclarationError
	query   piece
	where   piece
	filters []filter // by name
	sorts   []sort   // by name
	sizes   []int
	replan  bool
	signed  bool
	scan    *scanner
	source  *declaration
	texts   texts[variant]
}

// filter is a condition that its field switches on.
type filter struct {
	name  string
	field int
	piece
}

// sort is an order.
type sort struct {
	name  string
	keys  []key
	shape [8]byte // a digest of the keys: a cursor of another order does not fit
}

// key is a column of a sort.
type key struct {
	column     string // quoted
	name       string
	descending bool
	nullsFirst bool
	nullable   bool
	index      []int // of the field in the row struct
	typ        reflect.Type
}

func compileList(d *declaration) *list {
	c := newCompiler(d.name, d.args)
	l := &list{compiler: c, name: d.name, sizes: d.sizes, replan: d.replan, signed: d.signed, source: d}
	var err error
	if l.scan, err = newScanner(d.row); err != nil {
		c.fail("row", "%v", err)
	}
	l.query = c.always("Select", d.query, clauses...)
	if first := firstWord(l.query); first != "select" && first != "with" {
		c.fail("Select", "must begin with select or with")
	}
	if strings.TrimSpace(d.where) == "" {
		c.fail("Where", `is missing; "true" lets everything through`)
	} else {
		l.where = c.always("Where", d.where, clauses...)
	}
	if len(d.filters) > 64 {
		c.fail("Filters", "are more than 64")
	}
	for _, name := range slices.Sorted(maps.Keys(d.filters)) {
		l.filter(name, d.filters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(d.sorts)) {
		l.sort(name, d.sorts[name])
	}
	if len(d.sorts) == 0 {
		c.fail("Sorts", "are missing: a page needs an order")
	}
	l.checkSizes()
	c.unused()
	l.err = c.err(d.name)
	return l
}

func firstWord(p piece) string {
	for _, t := range p.tokens {
		if t.Kind != lex.Space {
			return strings.ToLower(t.Text)
		}
	}
	return ""
}

func (l *list) checkSizes() {
	if len(l.sizes) == 0 {
		l.fail("Sizes", "are missing")
	}
	for i, size := range l.sizes {
		if size < 1 || size > 1_000_000 {
			l.fail("Sizes", "%d is not between 1 and 1,000,000", size)
		}
		if slices.Contains(l.sizes[:i], size) {
			l.fail("Sizes", "%d occurs twice", size)
		}
	}
}

func (l *list) filter(name, text string) {
	where := "Filters[" + name + "]"
	f := filter{name: name, field: findField(l.fields, name), piece: l.piece(where, text, clauses...)}
	l.filters = append(l.filters, f)
	if f.field < 0 {
		l.fail(where, "no field of the argument struct switches it on; it has %s", l.fieldNames())
		return
	}
	l.used[f.field] = true
	own := &l.fields[f.field]
	switch {
	case own.presence == required:
		l.fail(where, "the field %s is always there: make it a pointer, or move the condition to Where", own.name)
	case own.presence == byFlag && slices.Contains(f.args, f.field):
		l.fail(where, "the field %s is false when it is not given: make it a pointer", own.name)
	case slices.Contains(l.where.args, f.field) || slices.Contains(l.query.args, f.field):
		l.fail(where, "the field %s is needed by each page and cannot switch it", own.name)
	}
}

// sort reads an ORDER BY.
func (l *list) sort(name, text string) {
	where := "Sorts[" + name + "]"
	s := sort{name: name}
	tokens, err := lex.Tokens(text)
	if err != nil {
		l.fail(where, "%v", err)
		return
	}
	for _, words := range splitCommas(tokens) {
		if k, problem := l.key(words); problem != "" {
			l.fail(where, "%s", problem)
		} else if slices.ContainsFunc(s.keys, func(o key) bool { return o.column == k.column }) {
			l.fail(where, "column %s occurs twice", k.name)
		} else {
			s.keys = append(s.keys, k)
		}
	}
	if len(s.keys) > 16 {
		l.fail(where, "has more than 16 columns")
	}
	s.shape = s.digest()
	l.sorts = append(l.sorts, s)
}

// splitCommas returns the words between commas, without space.
func splitCommas(tokens []lex.Token) [][]string {
	parts := [][]string{nil}
	for _, t := range tokens {
		switch {
		case t.Kind == lex.Space:
		case t.Text == ",":
			parts = append(parts, nil)
		default:
			parts[len(parts)-1] = append(parts[len(parts)-1], t.Text)
		}
	}
	return parts
}

// key reads a column of an ORDER BY.
func (l *list) key(words []string) (k key, problem string) {
	const usage = "must be columns of Select by name, each with asc or desc, nulls first or nulls last"
	if len(words) == 0 {
		return k, usage
	}
	k.name = unquote(words[0])
	k.column = quote(k.name)
	rest := strings.ToLower(strings.Join(words[1:], " "))
	if after, ok := strings.CutPrefix(rest, "desc"); ok {
		k.descending, k.nullsFirst, rest = true, true, after
	} else {
		rest = strings.TrimPrefix(rest, "asc")
	}
	switch strings.TrimSpace(rest) {
	case "":
	case "nulls first":
		k.nullsFirst = true
	case "nulls last":
		k.nullsFirst = false
	default:
		return k, usage
	}
	if l.scan == nil {
		return k, ""
	}
	i := l.scan.named(k.name)
	if i < 0 || l.scan.columns[i].group != nil {
		return k, "column " + k.name + " is not a field of the row struct"
	}
	c := &l.scan.columns[i]
	k.nullable, k.index, k.typ = !c.isPlain(), c.index, c.typ
	if !isPortable(k.typ) && !l.signed {
		return k, "column " + k.name + ": only a signed cursor can carry " + k.typ.String() + ": set Keys"
	}
	return k, ""
}

// unquote returns the name that an identifier of SQL means.
func unquote(word string) string {
	if quoted, ok := strings.CutPrefix(word, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
	}
	return strings.ToLower(word)
}

// Declaration describes the list to package pgquerytest.
func (l *List[A, R]) Declaration() *decl.Declaration {
	c, _ := l.compiled()
	d := &decl.Declaration{Kind: "List", Name: c.name, Problems: c.problems, Args: c.describe()}
	if c.err != nil {
		return d
	}
	d.Row, d.Named, d.IsArgument = c.scan.describe(), c.scan.named, c.isArgument
	d.List = &decl.List{
		Sizes: c.sizes, Open: c.source.open, Guarded: len(c.where.args) > 0, Signed: c.signed,
		Text: c.variantText, Keys: c.keysOf, Texts: c.countTexts(),
	}
	for _, f := range c.filters {
		d.List.Filters = append(d.List.Filters, f.name)
	}
	for _, s := range c.sorts {
		d.List.Sorts = append(d.List.Sorts, s.name)
	}
	return d
}
