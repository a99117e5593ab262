package pgquerytest

import (
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// list checks a list: first the query without an order, then each sort and each filter on its own,
// to report a mistake at its place, then the correct ones together.
func (c *checker) list() {
	c.Helper()
	l := c.d.List
	if !l.Guarded && !l.Open {
		c.fail("Where", "has no argument: a filter that can be left out guards access; move its condition here, "+
			"or set Open if every caller may list every row")
	}
	if c.try("Select", l.Text(decl.Variant{Count: true})) == nil {
		return
	}
	var sorts []int
	for i := range l.Sorts {
		if c.sort(i, len(sorts) == 0) {
			sorts = append(sorts, i)
		}
	}
	if len(sorts) == 0 {
		return
	}
	var sets []uint64 // sets of filters: each one and each pair
	all := uint64(0)
	for i, filter := range l.Filters {
		piece, v := "Filters["+filter+"]", decl.Variant{Sort: sorts[0], Filters: 1 << i}
		d := c.try(piece, l.Text(v))
		if d == nil {
			continue
		}
		if c.explain(len(d.ParamOIDs)).has("LockRows") {
			c.fail(piece, "locks every row that it looks at: FOR UPDATE does not belong here")
		}
		for j := range i {
			if all&(1<<j) != 0 {
				sets = append(sets, 1<<j|v.Filters)
			}
		}
		sets, all = append(sets, v.Filters), all|v.Filters
	}
	// Check each use of an argument on its own, to see whether two uses need different types. If a
	// use cannot be prepared, its type comes from another use, and is the same.
	t := l.Text(decl.Variant{Sort: sorts[0], Filters: all, Each: true})
	if d, err := c.prepare(t); err == nil {
		c.arguments(t, d)
	}
	stopped := c.checkCombinations(sorts, append(sets, all))
	c.Logf("List %s: %d texts, %d prepared%s; a connection that used all of them takes about %.1f MiB in the server",
		c.d.Name, l.Count, c.texts, stopped, float64(l.Count)*textMemory/(1<<20))
}

// sort checks a sort without filters, and the columns too if it is the first one.
func (c *checker) sort(i int, first bool) bool {
	c.Helper()
	s := c.d.List.Sorts[i]
	piece := "Sorts[" + s.Name + "]"
	t := c.d.List.Text(decl.Variant{Sort: i})
	d := c.try(piece, t)
	if d == nil {
		return false
	}
	p := c.explain(len(d.ParamOIDs))
	if first {
		c.columns("Select", t, d, p)
	}
	var places []place
	for _, k := range s.Keys {
		for at, f := range d.Fields {
			if c.d.Named(f.Name) != c.d.Named(k.Column) {
				continue
			}
			places = append(places, place{k, f})
			if at < len(p.Output) && c.catalog.changes(p.Output[at]) {
				c.fail(piece, "column %q changes between requests: pages would repeat and skip rows", f.Name)
			}
			if problem := c.catalog.key(c.catalog.typ(f.DataTypeOID), k, c.d.List.Signed); problem != "" {
				c.fail(piece, "column %q: %s", f.Name, problem)
			}
		}
	}
	if !c.trusted[c.d.Name+" "+s.Name] {
		if problem := c.ties(c.d.List.Text(decl.Variant{Probe: true}), places); problem != "" {
			c.fail(piece, "%s", problem)
		}
	}
	ok := true
	for _, v := range pages(i, s.Keys) {
		ok = c.try(piece, c.d.List.Text(v)) != nil && ok
	}
	return ok
}

// pages returns the variants of a sort with a cursor: with nulls in none of its columns, in each
// one and in all of them.
func pages(sort int, keys []decl.Key) (variants []decl.Variant) {
	patterns := []uint64{0}
	all := uint64(0)
	for i, k := range keys {
		if k.Nullable {
			all |= 1 << i
			patterns = append(patterns, 1<<i)
		}
	}
	if len(patterns) > 2 {
		patterns = append(patterns, all)
	}
	for _, nulls := range patterns {
		for _, backward := range []bool{false, true} {
			variants = append(variants, decl.Variant{Sort: sort, Keyset: true, Backward: backward, Nulls: nulls})
		}
	}
	return variants
}

// checkCombinations prepares each sort with each set of filters.
func (c *checker) checkCombinations(sorts []int, sets []uint64) (stopped string) {
	c.Helper()
	for _, sort := range sorts {
		s := c.d.List.Sorts[sort]
		for _, set := range sets {
			for _, v := range append([]decl.Variant{{Sort: sort}}, pages(sort, s.Keys)...) {
				if c.texts >= maxTexts {
					return ", then it stopped"
				}
				v.Filters = set
				c.try("Sorts["+s.Name+"] with "+strings.Join(c.filters(set), ", "), c.d.List.Text(v))
			}
		}
	}
	return ""
}

// filters returns the names of a set.
func (c *checker) filters(set uint64) (names []string) {
	for i, name := range c.d.List.Filters {
		if set&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}
