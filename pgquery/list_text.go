package pgquery

import (
	"reflect"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// variant names one of the texts of a list.
type variant struct {
	filters  uint64 // which are on
	nulls    uint64 // which columns of the sort are null in the cursor
	sort     uint16
	size     uint16
	keyset   bool
	backward bool
	count    bool
}

// active returns which filters args switches on.
func (c *list) active(args reflect.Value) (filters uint64) {
	for i := range c.filters {
		if _, on := c.fields[c.filters[i].field].read(args); on {
			filters |= 1 << i
		}
	}
	return filters
}

// bind returns the values of a text's parameters.
func (c *list) bind(t *text, args reflect.Value, r *request) ([]any, error) {
	values := make([]any, 0, len(t.params)+1)
	if c.replan {
		values = append(values, pgx.QueryExecModeCacheDescribe)
	}
	for _, p := range t.params {
		if p.key >= 0 {
			values = append(values, r.values[p.key])
			continue
		}
		value, err := c.fields[p.field].bind("list "+c.name, args)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// build puts a text together. The declared query is a subquery, so that a sort names its columns
// and not those of its tables; the planner pulls it up. Rows after the cursor's are one range if a
// row comparison can say it. Otherwise they are several that do not overlap, each with an index
// scan and a limit of its own.
func (c *list) build(v variant) *text { return c.write(&writer{}, v) }

func (c *list) write(w *writer, v variant) *text {
	s := &c.sorts[v.sort]
	if v.count {
		w.WriteString("-- name: " + c.name + "_count :one\nselect count(*) from (")
		c.writeRange(w, s, v, nil)
		w.WriteString(") q")
		return w.text()
	}
	w.WriteString("-- name: " + c.name + " :many\n")
	ranges := [][]condition{nil}
	if v.keyset {
		ranges = s.ranges(v.nulls, v.backward)
	}
	tail := c.tail(s, v)
	var bounds []decl.Range
	if len(ranges) == 1 {
		bounds = append(bounds, c.writeRange(w, s, v, ranges[0]))
	} else {
		w.WriteString("select * from (")
		for i, conditions := range ranges {
			if i > 0 {
				w.WriteString(" union all ")
			}
			w.WriteByte('(')
			bounds = append(bounds, c.writeRange(w, s, v, conditions))
			w.WriteString(tail)
			w.WriteByte(')')
		}
		w.WriteString(") q")
	}
	w.WriteString(tail)
	t := w.text()
	t.ranges = bounds
	return t
}

// tail returns ORDER BY and LIMIT: one row more than the page tells whether there is another page.
func (c *list) tail(s *sort, v variant) string {
	return s.orderBy("q.", v.backward) + " limit " + strconv.Itoa(c.sizes[v.size]+1)
}

// orderBy returns ORDER BY with the prefix before each column.
func (s *sort) orderBy(prefix string, backward bool) string {
	order := ""
	for i, k := range s.keys {
		if order += ", "; i == 0 {
			order = " order by "
		}
		order += prefix + k.column
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

func (c *list) writeRange(w *writer, s *sort, v variant, conditions []condition) (bounds decl.Range) {
	w.WriteString("select * from (")
	w.piece(c.query)
	w.WriteString(" where (")
	w.piece(c.where)
	w.WriteByte(')')
	for i := range c.filters {
		if v.filters&(1<<i) != 0 {
			w.WriteString(" and (")
			w.piece(c.filters[i].piece)
			w.WriteByte(')')
		}
	}
	w.WriteString(") q")
	for i, condition := range conditions {
		if i == 0 {
			w.WriteString(" where ")
		} else {
			w.WriteString(" and ")
		}
		s.write(w, condition, &bounds)
	}
	return bounds
}

// write writes a condition, and notes what bounds the range.
func (s *sort) write(w *writer, c condition, bounds *decl.Range) {
	keys := s.keys[c.from:c.to]
	switch c.operator {
	case "false":
		w.WriteString("false")
		return
	case "is null", "is not null":
		w.WriteString("q." + keys[0].column + " " + c.operator)
		bounds.Nulls = append(bounds.Nulls, keys[0].name)
		return
	}
	write := func(open, separator, shut string, one func(i int)) {
		w.WriteString(open)
		for i := range keys {
			if i > 0 {
				w.WriteString(separator)
			}
			one(i)
		}
		w.WriteString(shut)
	}
	column := func(i int) { w.WriteString("q." + keys[i].column) }
	value := func(i int) { bounds.Params = append(bounds.Params, w.param(param{field: -1, key: c.from + i})) }
	if c.operator == "=" { // a row comparison is not what the planner looks for here
		write("", " and ", "", func(i int) {
			column(i)
			w.WriteString(" = ")
			value(i)
		})
		return
	}
	write("(", ", ", ") "+c.operator, column)
	write(" (", ", ", ")", value)
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
	var equal []condition // what all further ranges have in common
	add := func(c condition) {
		ranges = append([][]condition{append(equal[:len(equal):len(equal)], c)}, ranges...)
	}
	for i := 0; i < len(s.keys); {
		k := &s.keys[i]
		end := i + 1
		for !k.nullable && end < len(s.keys) && !s.keys[end].nullable && s.keys[end].descending == k.descending {
			end++
		}
		after := ">"
		if k.descending != backward {
			after = "<"
		}
		nullsFirst := k.nullsFirst != backward
		switch nulls & (1 << i) {
		case 0:
			if k.nullable && !nullsFirst {
				add(condition{"is null", i, end})
			}
			add(condition{after, i, end})
			equal = append(equal, condition{"=", i, end})
		default:
			if nullsFirst {
				add(condition{"is not null", i, end})
			}
			equal = append(equal, condition{"is null", i, end})
		}
		i = end
	}
	if len(ranges) == 0 {
		add(condition{operator: "false"})
	}
	return ranges
}

// variantText returns a text for package pgquerytest.
func (c *list) variantText(d decl.Variant) decl.Text {
	v := variant{keyset: d.Keyset, backward: d.Backward, nulls: d.Nulls, count: d.Count}
	for i := range c.filters {
		for _, name := range d.Filters {
			if c.filters[i].name == name {
				v.filters |= 1 << i
			}
		}
	}
	for i := range c.sorts {
		if c.sorts[i].name == d.Sort {
			v.sort = uint16(i)
		}
	}
	return c.describeText(c.write(&writer{each: d.Each}, v), &c.sorts[v.sort])
}

func (c *list) describeText(t *text, s *sort) decl.Text {
	d := decl.Text{SQL: t.sql, Ranges: t.ranges}
	for _, p := range t.params {
		if p.key >= 0 {
			d.Params = append(d.Params, decl.Param{Key: s.keys[p.key].name})
		} else {
			d.Params = append(d.Params, decl.Param{Argument: c.fields[p.field].name})
		}
	}
	return d
}

// keysOf returns the columns of a sort for package pgquerytest.
func (c *list) keysOf(name string) (keys []decl.Key) {
	for i := range c.sorts {
		for _, k := range c.sorts[i].keys {
			if c.sorts[i].name == name {
				keys = append(keys, decl.Key{Column: k.name, Type: k.typ, Nullable: k.nullable})
			}
		}
	}
	return keys
}

// countTexts returns how many texts the list may send. It stops counting where nobody cares.
func (c *list) countTexts() int {
	pages := 0
	for i := range c.sorts {
		nullable := 0
		for _, k := range c.sorts[i].keys {
			if k.nullable {
				nullable++
			}
		}
		pages += 1 + 2<<nullable
	}
	return (pages*len(c.sizes) + 1) << min(len(c.filters), 30) // one more counts
}
