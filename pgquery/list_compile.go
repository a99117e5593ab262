package pgquery

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// list is a compiled List.
type list struct {
	*compiler
	query, where piece
	filters      []filter // by name
	sorts        []sort   // by name
	sizes        []int
	replan       bool
	signed       bool
	texts        texts[decl.Variant]
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
	shape [8]byte // a digest of the keys, to refuse a cursor of another order
}

// key is a column of a sort.
type key struct {
	*column
	name, quoted string
	descending   bool
	nullsFirst   bool
}

// compiled compiles the declaration once. It returns a *DeclarationError for mistakes.
func (l *List[A, R]) compiled() (*list, error) {
	l.once.Do(func() {
		c := newCompiler("List", l.Name, reflect.TypeFor[A](), reflect.TypeFor[R]())
		l.list = &list{compiler: c, sizes: l.Sizes, replan: l.Replan, signed: l.Keys != nil}
		l.list.read(l.Select, l.Where, l.Filters, l.Sorts)
		c.finish()
	})
	return l.list, l.list.err
}

func (l *list) read(query, where string, filters, sorts map[string]string) {
	l.query = l.readRequired("Select", query, clauses...)
	first := slices.IndexFunc(l.query.tokens, func(t lex.Token) bool { return t.Kind != lex.Space })
	if first >= 0 && !slices.Contains([]string{"select", "with"}, strings.ToLower(l.query.tokens[first].Text)) {
		l.fail("Select", "must begin with select or with")
	}
	if strings.TrimSpace(where) == "" {
		l.fail("Where", `is missing; "true" lets everything through`)
	} else {
		l.where = l.readRequired("Where", where, clauses...)
	}
	if len(filters) > 64 {
		l.fail("Filters", "are more than 64")
	}
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		l.addFilter("Filters["+name+"]", name, filters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(sorts)) {
		s := l.sort("Sorts["+name+"]", name, sorts[name])
		l.sorts = append(l.sorts, s)
		for _, k := range s.keys {
			if !l.signed && !isPortable(k.typ) {
				l.fail("Sorts["+name+"]", "column %s: only a signed cursor can carry %s: set Keys", k.name, k.typ)
			}
		}
	}
	if len(sorts) == 0 {
		l.fail("Sorts", "are missing: a page needs an order")
	}
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

func (l *list) addFilter(where, name, text string) {
	f := filter{name: name, piece: l.piece(where, text, clauses...), field: l.field(where, "the filter", name)}
	l.filters = append(l.filters, f)
	if f.field < 0 {
		return
	}
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
func (c *compiler) sort(where, name, text string) sort {
	s := sort{name: name}
	tokens, err := lex.Tokens(text)
	if err != nil {
		c.fail(where, "%v", err)
	}
	if err != nil || c.scan == nil {
		return s
	}
	for _, words := range splitCommas(tokens) {
		k, problem := c.key(words)
		if problem == "" && slices.ContainsFunc(s.keys, func(o key) bool { return o.name == k.name }) {
			problem = "column " + k.name + " occurs twice"
		}
		if problem != "" {
			c.fail(where, "%s", problem)
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) > 16 {
		c.fail(where, "has more than 16 columns")
	}
	s.shape = s.digest()
	return s
}

// splitCommas returns the words between commas, without space.
func splitCommas(tokens []lex.Token) [][]string {
	parts := [][]string{nil}
	for _, t := range tokens {
		switch {
		case t.Kind == lex.Space:
		case t.Text == "," && t.Depth == 0:
			parts = append(parts, nil)
		default:
			parts[len(parts)-1] = append(parts[len(parts)-1], t.Text)
		}
	}
	return parts
}

// key reads a column of an ORDER BY.
func (c *compiler) key(words []string) (k key, problem string) {
	const usage = "must be columns of Select by name, each with asc or desc, nulls first or nulls last"
	if len(words) == 0 {
		return k, usage
	}
	k.name = unquote(words[0])
	k.quoted = quote(k.name)
	switch strings.ToLower(strings.Join(words[1:], " ")) {
	case "", "asc", "nulls last", "asc nulls last":
	case "nulls first", "asc nulls first":
		k.nullsFirst = true
	case "desc", "desc nulls first":
		k.descending, k.nullsFirst = true, true
	case "desc nulls last":
		k.descending = true
	default:
		return k, usage
	}
	i := c.scan.indexOf(k.name)
	if i < 0 || c.scan.columns[i].group != nil {
		return k, "column " + k.name + " is not a field of the row struct"
	}
	k.column = &c.scan.columns[i]
	return k, ""
}

// Declaration describes the list to package pgquerytest.
func (l *List[A, R]) Declaration() *decl.Declaration {
	c, err := l.compiled()
	d := c.describe()
	if err != nil {
		return d
	}
	d.List = &decl.List{
		Open: l.Open, Guarded: len(c.where.args) > 0, Signed: c.signed, Text: c.build, Count: c.countTexts(),
	}
	for _, f := range c.filters {
		d.List.Filters = append(d.List.Filters, f.name)
	}
	for _, s := range c.sorts {
		sort := decl.Sort{Name: s.name}
		for _, k := range s.keys {
			sort.Keys = append(sort.Keys, decl.Key{Column: k.name, Type: k.typ, Nullable: !k.isPlain()})
		}
		d.List.Sorts = append(d.List.Sorts, sort)
	}
	return d
}

// countTexts returns how many texts the list may send. It stops counting at 30 filters.
func (l *list) countTexts() int {
	pages := 0
	for i := range l.sorts {
		nullable := 0
		for _, k := range l.sorts[i].keys {
			if !k.isPlain() {
				nullable++
			}
		}
		pages += 1 + 2<<nullable
	}
	return (pages*len(l.sizes) + 1) << min(len(l.filters), 30) // one more counts
}
