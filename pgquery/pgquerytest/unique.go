package pgquerytest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// multiplies returns why two rows of the result may have the same values in the columns, or "" if
// the catalog proves that they cannot.
//
// The proof is the closure of functional dependencies: the columns determine themselves, an
// equality determines its other side, and a unique index whose columns are determined determines
// its table. The rows are unique if all tables that the plan joins are determined.
func (c *checker) multiplies(p *node, sql string, columns []int, keys []decl.Key) string {
	u := &uniqueness{checker: c, determined: map[string]bool{}, nullable: map[string]bool{}}
	u.trusted = limitsAreOne(p, sql)
	u.walk(p, nil)
	var sorted []string // the tables that the columns come from
	for n, i := range columns {
		if i >= len(p.Output) {
			continue
		}
		column := canonical(p.Output[i])
		u.determined[column] = true
		for _, o := range p.origins(p.Output[i], false) {
			t, err := c.catalog.table(o.scan.table())
			if err != nil {
				c.Fatalf("pgquerytest: %v", err)
			}
			// A null that the row's field cannot hold ends the page with an error.
			u.nullable[column] = keys[n].Nullable && (o.nullable || !t.notNull[o.column])
			sorted = append(sorted, o.scan.Alias)
		}
	}
	u.close()
	for _, s := range u.sources {
		switch {
		case s.done || s.grouped:
		case s.scan == nil:
			return "has no unique end: no index proves that " + s.name + " gives one row for each place in the order"
		case slices.Contains(sorted, s.name):
			return fmt.Sprintf("has no unique end: no unique index of %s is among its columns; add the primary key",
				s.scan.Relation)
		}
	}
	for _, s := range u.sources {
		if !s.done && !s.grouped {
			return fmt.Sprintf("has no unique end: the join with %s may give a row several times: it compares no "+
				"unique index",
				s.scan.Relation)
		}
	}
	return ""
}

// uniqueness collects what the plan joins, and by what.
type uniqueness struct {
	*checker
	sources    []*joined
	equalities []equality
	determined map[string]bool // columns
	nullable   map[string]bool // those that may be null, and are determined as part of the sort only
	trusted    bool            // a limit below the list's own leaves one row
}

var (
	limits = regexp.MustCompile(`(?i)\blimit\b`)
	ones   = regexp.MustCompile(`(?i)\blimit\s+1\s*\)`)
)

// limitsAreOne reports whether each limit in the plan but the list's own is a "limit 1" of its
// text. A plan does not show the number, and a view has limits of its own.
func limitsAreOne(p *node, sql string) bool {
	found := len(limits.FindAllString(sql, -1))
	return p.count("Limit") <= found && found == 1+len(ones.FindAllString(sql, -1))
}

// joined is a table or something else that has rows.
type joined struct {
	name    string
	scan    *node // nil if it is not a table
	done    bool
	filters []string // for the predicates of partial indexes
	group   []string // the columns that GROUP BY makes unique
	grouped bool     // GROUP BY is above it: it need not be determined
}

// equality determines a column if the other side is determined, or a constant. A cast of the column
// must not make equal what is not: that of varchar to text does not.
type equality struct {
	column, by string // by is "" for a constant
	cast       bool
}

// walk collects the sources below n. Conditions of an outer join determine columns in only only.
func (u *uniqueness) walk(n *node, only map[string]bool) {
	switch {
	case n.isSubplan():
		return
	case n.Relation != "":
		u.sources = append(u.sources, newJoined(n))
	case n.Type == "Append" && u.partitioned(n) != nil:
		n = u.partitioned(n)
		u.sources = append(u.sources, newJoined(n))
	case n.Strategy == "Plain", n.Type == "Result" && len(n.Plans) == 0,
		n.Type == "Limit" && n.Parent != "" && u.trusted:
		return // one row at most
	case n.Type == "Aggregate" || n.Type == "Group" || n.Type == "Unique":
		group := &joined{name: "the group"}
		for _, key := range n.GroupKey {
			group.group = append(group.group, canonical(key))
		}
		below := len(u.sources)
		for _, child := range n.Plans {
			u.walk(child, only)
		}
		for _, s := range u.sources[below:] {
			s.grouped = true
		}
		u.sources = append(u.sources, group)
		return
	case strings.HasSuffix(n.Type, " Scan") && n.Type != "Subquery Scan", n.Type == "ProjectSet",
		n.Type == "Append", n.Type == "Merge Append", n.Type == "SetOp":
		u.sources = append(u.sources, &joined{name: strings.ToLower(n.Type) + " " + n.Alias})
		return
	}
	u.conditions(n, u.narrow(n, only))
	for _, child := range n.Plans {
		if isInnerOfSemi(n, child) {
			continue
		}
		inner := only
		if n.isNullable(child) {
			inner = map[string]bool{}
			child.aliases(inner)
		}
		u.walk(child, inner)
	}
}

func newJoined(scan *node) *joined {
	s := &joined{name: scan.Alias, scan: scan}
	for _, condition := range scan.conditions() {
		for _, part := range split(condition) {
			s.filters = append(s.filters, strings.ReplaceAll(part, scan.Alias+".", ""))
		}
	}
	return s
}

// partitioned returns the scan of a table whose partitions are below n, or nil. They all have the
// same conditions, so that the first one stands for them.
func (u *uniqueness) partitioned(n *node) *node {
	var whole *node
	for _, child := range n.Plans {
		if child.Relation == "" {
			return nil
		}
		var schema, relation string
		err := u.tx.QueryRow(u.ctx, `select nspname, relname from pg_class c join pg_namespace s on s.oid = relnamespace
			where c.oid = pg_partition_root(to_regclass($1))`, child.table()).Scan(&schema, &relation)
		if err != nil || whole != nil && (whole.Schema != schema || whole.Relation != relation) {
			return nil
		}
		if whole == nil {
			alias := partitionedAlias(child.Alias)
			rename := func(condition string) string { return strings.ReplaceAll(condition, child.Alias+".", alias+".") }
			whole = &node{
				Type: child.Type, Schema: schema, Relation: relation, Alias: alias,
				IndexCond: rename(child.IndexCond), RecheckCond: rename(child.RecheckCond),
				Filter: rename(child.Filter),
			}
		}
	}
	return whole
}

// narrow returns the aliases whose columns a condition of the join n may determine.
func (u *uniqueness) narrow(n *node, only map[string]bool) map[string]bool {
	for _, child := range n.Plans {
		if n.Join == "Full" || strings.HasSuffix(n.Join, "Anti") {
			return map[string]bool{} // not true of each row that comes out
		}
		if n.isNullable(child) {
			only = map[string]bool{}
			child.aliases(only)
		}
	}
	return only
}

func (n *node) aliases(into map[string]bool) {
	into[n.Alias] = true
	for _, child := range n.Plans {
		child.aliases(into)
	}
}

// isInnerOfSemi reports the side of a semijoin or antijoin that gives no rows.
func isInnerOfSemi(n, child *node) bool {
	switch n.Join {
	case "Semi", "Anti":
		return child.Parent == "Inner"
	case "Right Semi", "Right Anti":
		return child.Parent == "Outer"
	}
	return false
}

// conditions collects the equalities of a node.
func (u *uniqueness) conditions(n *node, only map[string]bool) {
	for _, condition := range n.conditions() {
		for _, part := range split(condition) {
			left, right, ok := strings.Cut(part, " = ")
			if !ok {
				continue
			}
			for _, side := range [][2]string{{left, right}, {right, left}} {
				column, isText := strings.CutSuffix(trimParens(side[0]), "::text")
				column = trimParens(column)
				alias, _, isColumn := cutColumn(column)
				if !isColumn || only != nil && !only[alias] {
					continue
				}
				if by := bare(side[1]); isConstant(by) {
					u.equalities = append(u.equalities, equality{canonical(column), "", isText})
				} else if _, _, isColumn := cutColumn(by); isColumn {
					u.equalities = append(u.equalities, equality{canonical(column), canonical(by), isText})
				}
			}
		}
	}
}

// isText reports a column of a type that a cast to text does not change.
func (u *uniqueness) isText(column string) bool {
	alias, name, _ := strings.Cut(column, ".")
	for _, s := range u.sources {
		if s.scan != nil && s.name == alias {
			t, err := u.catalog.table(s.scan.table())
			return err == nil && slices.Contains([]string{"text", "varchar"}, u.catalog.typ(t.types[name]).name)
		}
	}
	return false
}

// canonical returns a column without the quotes that EXPLAIN writes.
func canonical(expression string) string {
	if alias, column, ok := cutColumn(expression); ok {
		return alias + "." + column
	}
	return expression
}

// bare removes parentheses and casts from an expression.
func bare(text string) string {
	for {
		before := text
		text = trimParens(strings.TrimSpace(text))
		if i := strings.LastIndex(text, "::"); i > 0 && !strings.ContainsAny(text[i:], "()'") {
			text = text[:i]
		}
		if text == before {
			return text
		}
	}
}

func isConstant(text string) bool {
	digits := strings.TrimPrefix(text, "$")
	if strings.Trim(digits, "0123456789") == "" && digits != "" {
		return true
	}
	return len(text) > 1 && text[0] == '\'' && strings.IndexByte(text[1:], '\'') == len(text)-2
}

// close applies the rules until nothing changes.
func (u *uniqueness) close() {
	for changed := true; changed; {
		changed = false
		for _, e := range u.equalities {
			if (e.by == "" || u.determined[e.by]) && (!u.determined[e.column] || u.nullable[e.column]) &&
				(!e.cast || u.isText(e.column)) {
				u.determined[e.column], changed = true, true
				delete(u.nullable, e.column) // an equality is not true of null
			}
		}
		for _, s := range u.sources {
			if !s.done && u.isDetermined(s) {
				s.done, changed = true, true
				if s.scan != nil {
					t, _ := u.catalog.table(s.scan.table())
					for column := range t.types {
						u.determined[s.name+"."+column] = true
					}
				}
			}
		}
	}
}

// isDetermined reports whether the determined columns leave one row of the source.
func (u *uniqueness) isDetermined(s *joined) bool {
	if s.scan == nil {
		isOpen := func(column string) bool { return !u.determined[column] }
		return len(s.group) > 0 && !slices.ContainsFunc(s.group, isOpen)
	}
	t, err := u.catalog.table(s.scan.table())
	if err != nil {
		u.Fatalf("pgquerytest: %v", err)
	}
	return slices.ContainsFunc(t.unique, func(i index) bool {
		if i.predicate != "" && i.name != s.scan.Index {
			for _, part := range split(i.predicate) {
				if !slices.Contains(s.filters, part) {
					return false
				}
			}
		}
		return !slices.ContainsFunc(i.columns, func(column string) bool {
			name := s.name + "." + column
			return !u.determined[name] || u.nullable[name]
		})
	})
}
