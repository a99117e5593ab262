package pgquerytest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// probe is the name of the rows that a list is joined with. A declaration cannot use this name.
const probe = `pgquery.probe`

// place is a column of a sort, as the server describes it.
type place struct {
	decl.Key
	pgconn.FieldDescription
}

// ties returns why two of the rows may have the same place in an order, or "" if the planner proves
// that they cannot. It joins the rows with rows that hold a place in the order and the arguments.
// For each join the planner says whether it finds at most one row: "Inner Unique".
//
// A column that may be null proves nothing, because an equality is not true for nulls.
func (c *checker) ties(rows *decl.Text, places []place) string {
	var columns []string
	condition := "true"
	for i, p := range places {
		if p.Nullable {
			continue
		}
		typ := c.catalog.typ(p.DataTypeOID)
		columns = append(columns, unknown(typ, fmt.Sprintf("key%d", i)))
		condition += fmt.Sprintf(` and q.%s = "%s"."key%d"`, quote(p.Name), probe, i)
	}
	sql := c.probe(rows, columns, condition)
	c.set("off")
	defer c.set("on")
	c.texts--
	if _, err := c.prepare(&decl.Text{SQL: sql}); err != nil {
		return "is not known to be unique: " + describe(err, sql)
	}
	p := c.explain(0)
	return c.multiplies(p, limitsAreOne(p, sql))
}

// probe returns a query that joins rows, as q, with the rows of the probe, which hold the arguments
// and more columns.
//
// An index returns the rows of the probe in the query's order, and sorts are switched off. That
// leaves only joins that begin with the probe.
func (c *checker) probe(rows *decl.Text, columns []string, condition string) string {
	for i, p := range rows.Params {
		columns = append(columns, unknown(c.args[p.Arg], strconv.Itoa(i+1)))
	}
	with := ""
	if rows.With != "" {
		with = ", " + rows.With
	}
	return fmt.Sprintf(`with recursive "%[1]s" as not materialized (
			select %[2]s from pg_catalog.pg_class "%[1]s" order by oid offset 0
		)%[3]s select 1 from "%[1]s" cross join lateral (%[4]s) q where %[5]s order by "%[1]s".oid`,
		probe, strings.Join(append(columns, "oid"), ", "), with, rows.SQL, condition)
}

// unknown returns a column of the probe. The planner does not know its value, and a plan shows its
// name.
func unknown(typ *dataType, name string) string {
	return fmt.Sprintf(`case oid::text when '%[2]s' then null::%[1]s end as "%[2]s"`, typ.sql, name)
}

// set switches the joins that may put the row on either side.
func (c *checker) set(value string) {
	c.Helper()
	_, err := c.tx.Exec(c.ctx, strings.ReplaceAll(`set local enable_hashjoin = X; set local enable_mergejoin = X;
		set local enable_material = X; set local enable_memoize = X`, "X", value))
	if err != nil {
		c.Fatalf("pgquerytest: %v", err)
	}
}

// multiplies returns the join of the plan n that may find several rows for one row of the probe.
func (c *checker) multiplies(n *node, isOne bool) string {
	outer, inner := n.inputs()
	switch {
	case strings.HasPrefix(n.Alias, probe) || outer == nil:
		return "" // the probe, or no rows at all
	case inner == nil && n.Type != "ProjectSet":
		return c.multiplies(outer, isOne)
	case outer.holdsProbe() && c.addsOne(n, inner, isOne):
		return c.multiplies(outer, isOne)
	case inner != nil && !outer.holdsProbe():
		inner, outer = outer, inner
	}
	if inner == nil || outer.count("Nested Loop") == 0 {
		return "has no unique end: no unique index of " + inner.title() + " is among its columns; add the primary key"
	}
	return "has no unique end: the join with " + inner.title() + " may give a row several times: " +
		"no index proves that it gives one"
}

// addsOne reports whether the join n finds at most one row for each of its outer side.
func (c *checker) addsOne(n, inner *node, isOne bool) bool {
	switch n.Join {
	case "Semi", "Anti":
		return true
	case "Inner", "Left":
		return n.InnerUnique || c.isOneRow(inner, isOne)
	}
	return false
}

// inputs returns the children that provide the rows of n.
func (n *node) inputs() (outer, inner *node) {
	for _, child := range n.Plans {
		switch {
		case child.isSubplan():
		case outer == nil:
			outer = child
		default:
			inner = child
		}
	}
	return outer, inner
}

// holdsProbe reports whether the rows of n come from the probe.
func (n *node) holdsProbe() bool {
	return strings.HasPrefix(n.Alias, probe) || slices.ContainsFunc(n.Plans, (*node).holdsProbe)
}

// isOneRow reports whether n finds at most one row each time it runs.
func (c *checker) isOneRow(n *node, isOne bool) bool {
	outer, inner := n.inputs()
	switch {
	case n.Strategy == "Plain", n.Type == "Result" && outer == nil, n.Type == "Limit" && isOne:
		return true
	case strings.HasPrefix(n.Type, "Index"):
		_, isUnique := c.uniqueScan(n)
		return isUnique
	case n.Type == "Append": // of partitions, which have the parts of one index
		whole, _ := c.uniqueScan(outer)
		seen := map[string]bool{"": true}
		return whole != 0 && !slices.ContainsFunc(n.Plans, func(child *node) bool {
			root, isUnique := c.uniqueScan(child)
			wasSeen := seen[child.Relation]
			seen[child.Relation] = true
			return wasSeen || !isUnique || root != whole || child.bareCondition() != outer.bareCondition()
		})
	case inner != nil:
		return c.isOneRow(outer, isOne) && c.addsOne(n, inner, isOne)
	}
	return outer != nil && n.Type != "ProjectSet" && n.Sets == nil && c.isOneRow(outer, isOne)
}

// bareCondition returns what an index scan compares, without the name of its table.
func (n *node) bareCondition() string { return strings.ReplaceAll(n.IndexCond, n.Alias+".", "") }

// uniqueScan reports an index scan that compares each column of a unique index. It returns the
// index of the partitioned table, or 0. The planner does not call a scan unique if the index is
// partial.
func (c *checker) uniqueScan(n *node) (root uint32, isUnique bool) {
	var columns []string
	err := c.tx.QueryRow(c.ctx, `select coalesce(pg_partition_root(indexrelid)::oid, 0), array(
			select quote_ident($2) || '.' || quote_ident(attname)
			from unnest(indkey::int2[]) with ordinality k (num, nth)
			left join pg_attribute on attrelid = indrelid and attnum = num where nth <= indnkeyatts)
		from pg_index where indexrelid = to_regclass($1) and indisunique and indisvalid and indimmediate
		and indexprs is null`, pgx.Identifier{n.Schema, n.Index}.Sanitize(), n.Alias).Scan(&root, &columns)
	condition := literals.ReplaceAllString(n.IndexCond, "''")
	return root, err == nil && !slices.ContainsFunc(columns, func(column string) bool {
		_, other, found := strings.Cut(condition, "("+column+" = ")
		if !found { // a varchar is compared as text
			_, other, found = strings.Cut(condition, "(("+column+")::text = ")
		}
		return !found || strings.HasPrefix(other, "ANY (")
	})
}

// title returns the table that the node reads, or its type.
func (n *node) title() string {
	switch {
	case n == nil:
		return "the list"
	case n.Relation != "":
		return n.Relation
	case len(n.Plans) > 0 && n.Type != "Append":
		return n.Plans[0].title()
	}
	return strings.TrimSpace(strings.ToLower(n.Type) + " " + n.Alias)
}

var (
	limits = regexp.MustCompile(`(?i)\blimit\b`)
	ones   = regexp.MustCompile(`(?i)\blimit\s+1\s*\)`)
)

// limitsAreOne reports whether each limit in the plan is a "limit 1" of the text. A plan does not
// show the number, and a view may have its own limits.
func limitsAreOne(p *node, sql string) bool {
	found := len(limits.FindAllString(sql, -1))
	return p.count("Limit") <= found && found == len(ones.FindAllString(sql, -1))
}
