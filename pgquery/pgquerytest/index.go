package pgquerytest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// indexed checks that indexes find the rows after a cursor, and in order.
func (c *checker) indexed(i *indexed) {
	c.Helper()
	l := c.d.List
	if l == nil {
		c.Fatalf("pgquerytest: Indexed is for lists, and %s is none", c.d.Name)
	}
	sort := slices.IndexFunc(l.Sorts, func(s decl.Sort) bool { return s.Name == i.sort })
	if sort < 0 {
		c.fail("Sorts", "Indexed names the sort %q, which is not declared", i.sort)
		return
	}
	filters := uint64(0)
	for _, name := range i.filters {
		at := slices.Index(l.Filters, name)
		if at < 0 {
			c.fail("Filters", "Indexed names the filter %q, which is not declared", name)
			return
		}
		filters |= 1 << at
	}
	for _, v := range pages(sort, l.Sorts[sort].Keys) {
		v.Filters = filters
		t := l.Text(v)
		piece, direction := "Sorts["+i.sort+"]", "forward"
		if v.Backward {
			direction = "backward"
		}
		if c.try(piece, t) == nil {
			return
		}
		p := c.explain(len(t.Params))
		for _, problem := range keysetProblems(p, t, l.Sorts[sort].Keys) {
			c.fail(piece, "%s: %s", direction, problem)
		}
		for _, filter := range residual(p) {
			c.Logf("List %s: %s, %s: what is not %s is read and thrown away", c.d.Name, piece, direction, filter)
		}
	}
}

// keysetProblems compares a plan with the ranges of its text.
func keysetProblems(p *node, t *decl.Text, keys []decl.Key) (problems []string) {
	branches := []*node{p}
	if len(t.Ranges) > 1 {
		branches = appended(p)
		if len(branches) != len(t.Ranges) {
			return []string{fmt.Sprintf("the plan has %d ranges of %d", len(branches), len(t.Ranges))}
		}
	}
	for i, r := range t.Ranges {
		conditions := strings.Join(branches[i].indexConditions(), " ")
		for _, param := range r.Params {
			if !regexp.MustCompile(fmt.Sprintf(`\$%d\b`, param)).MatchString(conditions) {
				column := keys[t.Params[param-1].Key].Column
				problems = append(problems, "no index finds the rows after the cursor's "+column)
			}
		}
		for _, column := range r.Nulls {
			if !strings.Contains(conditions, " NULL)") {
				problems = append(problems, "no index finds the rows by whether "+column+" is null")
			}
		}
		limit := branches[i]
		for limit.Type != "Limit" && len(limit.Plans) == 1 { // nodes above a limit are bounded by it
			limit = limit.Plans[0]
		}
		if limit.sorts() {
			problems = append(problems, "no index has the order: all rows after the cursor are sorted")
		}
	}
	return problems
}

// appended returns the children of the topmost Append.
func appended(n *node) []*node {
	if n.Type == "Append" || n.Type == "Merge Append" {
		return n.Plans
	}
	for _, child := range n.Plans {
		if found := appended(child); found != nil {
			return found
		}
	}
	return nil
}

func (n *node) indexConditions() (conditions []string) {
	if strings.HasPrefix(n.Type, "Index") {
		conditions = append(conditions, n.IndexCond)
	}
	for _, child := range n.Plans {
		conditions = append(conditions, child.indexConditions()...)
	}
	return conditions
}

// sorts reports whether n sorts all of its rows. A sort that runs once for each row is bounded.
func (n *node) sorts() bool {
	if strings.HasSuffix(n.Type, "Sort") || n.Type == "WindowAgg" {
		return true
	}
	return slices.ContainsFunc(n.Plans, func(child *node) bool {
		return !child.isSubplan() && (n.Type != "Nested Loop" || child.Parent != "Inner") && child.sorts()
	})
}

// residual returns the filters of the index scans.
func residual(n *node) (filters []string) {
	if n.Filter != "" && strings.HasPrefix(n.Type, "Index") {
		filters = append(filters, n.Filter)
	}
	for _, child := range n.Plans {
		filters = append(filters, residual(child)...)
	}
	return filters
}
