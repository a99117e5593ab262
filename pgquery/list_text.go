package pgquery

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// active returns which filters args switches on.
func (l *list) active(args reflect.Value) (filters uint64) {
	for i := range l.filters {
		if _, on := l.fields[l.filters[i].field].read(args); on {
			filters |= 1 << i
		}
	}
	return filters
}

// build builds a text. The declared query becomes a subquery, so that a sort names its columns and
// not the columns of its tables; the planner pulls it up. The rows after the cursor are one range
// if a row comparison can express it. Otherwise they are several disjoint ranges, each with its own
// index scan and limit.
func (l *list) build(v decl.Variant) *decl.Text {
	if v.Count {
		w := newWriter(l.name+"_count", "one")
		w.WriteString("select count(*) from (")
		l.writeRange(w, nil, v, nil)
		w.WriteString(") q")
		return w.end()
	}
	if v.Probe {
		with, _ := l.query.cutWith()
		w := &writer{before: `(select "`, after: `" from "pgquery.probe")`}
		w.piece(with)
		probe := newProbe(w.text.Params)
		l.writeRange(probe, nil, v, nil)
		probe.text.With = w.String()
		return probe.end()
	}
	s := &l.sorts[v.Sort]
	w := newWriter(l.name, "many")
	w.each = v.Each
	// Read one extra row to know whether there is another page.
	tail := s.orderBy("q.", v.Backward) + " limit " + strconv.Itoa(l.sizes[v.Size]+1)
	ranges := [][]condition{nil}
	if v.Keyset {
		ranges = s.ranges(v.Nulls, v.Backward)
	}
	if len(ranges) == 1 {
		l.writeRange(w, s, v, ranges[0])
	} else {
		separator := "select * from (("
		for _, conditions := range ranges {
			w.WriteString(separator)
			l.writeRange(w, s, v, conditions)
			w.WriteString(tail)
			separator = ") union all ("
		}
		w.WriteString(")) q")
	}
	w.WriteString(tail)
	return w.end()
}

// cutWith cuts a statement before its SELECT, and removes the word WITH.
func (p piece) cutWith() (with, rest piece) {
	for i, t := range p.tokens {
		switch word := strings.ToLower(t.Text); {
		case t.Kind == lex.Argument:
			with.args = append(with.args, p.args[len(with.args)])
		case t.Kind != lex.Word || t.Depth > 0:
		case word == "with" && len(with.tokens) == 0, word == "recursive" && len(with.tokens) == 0:
			continue
		case word == "select":
			return with, piece{p.tokens[i:], p.args[len(with.args):]}
		}
		if t.Kind != lex.Space || len(with.tokens) > 0 {
			with.tokens = append(with.tokens, t)
		}
	}
	return with, piece{}
}

// orderBy returns ORDER BY with the prefix before each column.
func (s *sort) orderBy(prefix string, backward bool) string {
	order, separator := "", " order by "
	for _, k := range s.keys {
		order += separator + prefix + k.quoted
		separator = ", "
		descending, nullsFirst := k.descending != backward, k.nullsFirst != backward
		if descending {
			order += " desc"
		}
		switch {
		case nullsFirst && !descending:
			order += " nulls first"
		case !nullsFirst && descending:
			order += " nulls last"
		}
	}
	return order
}

// writeRange writes the query for the rows that the conditions let through.
func (l *list) writeRange(w *writer, s *sort, v decl.Variant, conditions []condition) {
	query := l.query
	if v.Probe {
		_, query = query.cutWith()
	}
	w.WriteString("select * from (")
	w.piece(query)
	w.WriteString(" where (")
	w.piece(l.where)
	w.WriteByte(')')
	for i := range l.filters {
		if v.Filters&(1<<i) != 0 {
			w.WriteString(" and (")
			w.piece(l.filters[i].piece)
			w.WriteByte(')')
		}
	}
	w.WriteString(") q")
	var bounds decl.Range
	separator := " where "
	for _, condition := range conditions {
		w.WriteString(separator)
		separator = " and "
		s.write(w, condition, &bounds)
	}
	w.text.Ranges = append(w.text.Ranges, bounds)
}

// write writes a condition, and records the parameters that bound the range.
func (s *sort) write(w *writer, c condition, bounds *decl.Range) {
	keys := s.keys[c.from:c.to]
	list := func(open, separator string, element func(i int)) {
		for i := range keys {
			w.WriteString(open)
			open = separator
			element(i)
		}
	}
	column := func(i int) { w.WriteString("q." + keys[i].quoted) }
	value := func(i int) {
		bounds.Params = append(bounds.Params, w.param(decl.Param{Arg: -1, Key: c.from + i}))
	}
	switch c.operator {
	case "false":
		w.WriteString("false")
	case "is null", "is not null":
		column(0)
		w.WriteString(" " + c.operator)
		bounds.Nulls = append(bounds.Nulls, keys[0].name)
	case "=": // the planner does not use a row comparison here
		list("", " and ", func(i int) {
			column(i)
			w.WriteString(" = ")
			value(i)
		})
	default:
		list("(", ", ", column)
		w.WriteString(") " + c.operator + " ")
		list("(", ", ", value)
		w.WriteByte(')')
	}
}

// condition compares columns of a sort with the cursor's values.
type condition struct {
	operator string // "=", "<", ">", "is null", "is not null", "false"
	from, to int    // the keys
}

// ranges returns conditions for the rows after the cursor's, or before it. Each element is one
// range; the nearest one comes first.
func (s *sort) ranges(nulls uint64, backward bool) [][]condition {
	var ranges [][]condition
	var equal []condition // shared by all further ranges
	add := func(c condition) {
		ranges = append([][]condition{append(equal[:len(equal):len(equal)], c)}, ranges...)
	}
	for i := 0; i < len(s.keys); {
		k := &s.keys[i]
		end := i + 1
		for k.isPlain() && end < len(s.keys) && s.keys[end].isPlain() && s.keys[end].descending == k.descending {
			end++
		}
		after := ">"
		if k.descending != backward {
			after = "<"
		}
		nullsFirst := k.nullsFirst != backward
		if nulls&(1<<i) != 0 {
			if nullsFirst {
				add(condition{"is not null", i, end})
			}
			equal = append(equal, condition{"is null", i, end})
		} else {
			if !k.isPlain() && !nullsFirst {
				add(condition{"is null", i, end})
			}
			add(condition{after, i, end})
			equal = append(equal, condition{"=", i, end})
		}
		i = end
	}
	if len(ranges) == 0 {
		add(condition{operator: "false"})
	}
	return ranges
}
