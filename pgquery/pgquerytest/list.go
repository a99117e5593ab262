package pgquerytest

import (
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// list checks a list: first what is in each text, then each sort and each filter by itself, so that
// a mistake is reported where it is, then those that are right together.
func (c *checker) list() {
	c.Helper()
	l := c.d.List
	if !l.Guarded && !l.Open {
		c.fail("Where", "has no argument: a filter that can be left out guards access; move its condition here, "+
			"or set Open if every caller may list every row")
	}
	base := l.Text(decl.Variant{Sort: l.Sorts[0]})
	d, err := c.prepare(base)
	if err != nil {
		if !c.worksWithOtherSort(l) {
			c.fail("Select", "the server refuses it: %s", describe(err, base.SQL))
			return
		}
	} else {
		c.arguments(base, d)
		c.columns("Select", d)
	}
	var sorts, filters []string
	for _, sort := range l.Sorts {
		if c.sort(sort) {
			sorts = append(sorts, sort)
		}
	}
	if len(sorts) == 0 {
		return
	}
	for _, filter := range l.Filters {
		piece, t := "Filters["+filter+"]", l.Text(decl.Variant{Sort: sorts[0], Filters: []string{filter}})
		if c.try(piece, t) != nil {
			filters = append(filters, filter)
			if c.explain(len(t.Params)).has("LockRows") {
				c.fail(piece, "locks every row that it looks at: FOR UPDATE does not belong here")
			}
		}
	}
	// Each use of an argument by itself shows whether two uses need different types. Where it
	// cannot be prepared, a type comes only from another use, and is the same.
	t := l.Text(decl.Variant{Sort: sorts[0], Filters: filters, Each: true})
	if d, err := c.prepare(t); err == nil {
		c.arguments(t, d)
	}
	c.try("Count", l.Text(decl.Variant{Sort: sorts[0], Filters: filters, Count: true}))
	all := c.together(sorts, filters)
	c.Logf("List %s: %d texts, %d prepared%s; a connection that used all of them takes about %.1f MiB in the server",
		c.d.Name, l.Texts, c.texts, all, float64(l.Texts)*textMemory/(1<<20))
}

// worksWithOtherSort reports whether only the first sort is to blame.
func (c *checker) worksWithOtherSort(l *decl.List) bool {
	return slices.ContainsFunc(l.Sorts[1:], func(sort string) bool {
		_, err := c.prepare(l.Text(decl.Variant{Sort: sort}))
		return err == nil
	})
}

// sort checks a sort without filters.
func (c *checker) sort(name string) bool {
	c.Helper()
	piece := "Sorts[" + name + "]"
	keys := c.d.List.Keys(name)
	first := c.d.List.Text(decl.Variant{Sort: name})
	d := c.try(piece, first)
	if d == nil {
		return false
	}
	p := c.explain(len(d.ParamOIDs))
	var columns []int // of the result
	for _, k := range keys {
		for at, f := range d.Fields {
			if c.d.Named(f.Name) != c.d.Named(k.Column) {
				continue
			}
			columns = append(columns, at)
			if problem := c.catalog.key(c.catalog.typ(f.DataTypeOID), k, c.d.List.Signed); problem != "" {
				c.fail(piece, "column %q: %s", f.Name, problem)
			}
		}
	}
	if problem := c.multiplies(p, first.SQL, columns); problem != "" {
		c.fail(piece, "%s", problem)
	}
	ok := true
	for _, v := range pages(name, keys) {
		ok = c.try(piece, c.d.List.Text(v)) != nil && ok
	}
	return ok
}

// pages returns the variants of a sort that have a cursor: for nulls in none of its columns, in
// each and in all.
func pages(sort string, keys []decl.Key) (variants []decl.Variant) {
	var all uint64
	patterns := []uint64{0}
	for i, k := range keys {
		if k.Nullable {
			all |= 1 << i
			patterns = append(patterns, 1<<i)
		}
	}
	if !slices.Contains(patterns, all) {
		patterns = append(patterns, all)
	}
	for _, nulls := range patterns {
		for _, backward := range []bool{false, true} {
			variants = append(variants, decl.Variant{Sort: sort, Keyset: true, Backward: backward, Nulls: nulls})
		}
	}
	return variants
}

// together prepares each sort with each filter, each two and all of them.
func (c *checker) together(sorts, filters []string) string {
	c.Helper()
	var sets [][]string
	for i := range filters {
		sets = append(sets, filters[i:i+1])
		for j := range filters[:i] {
			sets = append(sets, []string{filters[j], filters[i]})
		}
	}
	sets = append(sets, filters)
	for _, sort := range sorts {
		for _, set := range sets {
			variants := append([]decl.Variant{{Sort: sort}}, pages(sort, c.d.List.Keys(sort))...)
			for _, v := range variants {
				if c.texts >= maxTexts {
					return ", then it stopped"
				}
				v.Filters = set
				c.try("Sorts["+sort+"] with "+strings.Join(set, ", "), c.d.List.Text(v))
			}
		}
	}
	return ""
}
