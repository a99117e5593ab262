package pgquerytest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// node is a node of a plan, as EXPLAIN (VERBOSE, FORMAT JSON) shows it.
type node struct {
	Type        string   `json:"Node Type"`
	Parent      string   `json:"Parent Relationship"`
	Index       string   `json:"Index Name"`
	Join        string   `json:"Join Type"`
	InnerUnique bool     `json:"Inner Unique"`
	Strategy    string   `json:"Strategy"`
	Schema      string   `json:"Schema"`
	Relation    string   `json:"Relation Name"`
	Alias       string   `json:"Alias"`
	Output      []string `json:"Output"`
	IndexCond   string   `json:"Index Cond"`
	Filter      string   `json:"Filter"`
	OneTime     string   `json:"One-Time Filter"`
	Sets        []any    `json:"Grouping Sets"`
	Plans       []*node  `json:"Plans"`
}

// explain returns the generic plan of the last prepared statement. It is empty if the server cannot
// show one: EXECUTE accepts no null for a domain that refuses it.
func (c *checker) explain(params int) *node {
	c.Helper()
	sql := "explain (verbose, costs on, format json) execute " + statement
	if params > 0 {
		sql += "(null" + strings.Repeat(", null", params-1) + ")"
	}
	var text []byte
	err := c.tx.QueryRow(c.ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&text)
	if err != nil {
		c.Logf("%s %s: no plan shows whether it is right: %v", c.d.Kind, c.d.Name, err)
		if _, err := c.tx.Exec(c.ctx, "rollback to pgquerytest"); err != nil {
			c.Fatalf("pgquerytest: %v", err)
		}
		return &node{}
	}
	var plans []struct{ Plan *node }
	if err := json.Unmarshal(text, &plans); err != nil {
		c.Fatalf("pgquerytest: explain: %v", err)
	}
	return plans[0].Plan
}

// has reports whether the plan has a node of that type.
func (n *node) has(kind string) bool { return n.count(kind) > 0 }

// count returns how many nodes of that type the plan has.
func (n *node) count(kind string) (found int) {
	if n.Type == kind {
		found++
	}
	for _, child := range n.Plans {
		found += child.count(kind)
	}
	return found
}

// isSubplan reports a plan below a node that does not provide the node's rows.
func (n *node) isSubplan() bool { return n.Parent == "SubPlan" || n.Parent == "InitPlan" }

// isNullable reports whether an outer join may make the rows of n's child null.
func (n *node) isNullable(child *node) bool {
	switch n.Join {
	case "Left":
		return child.Parent == "Inner"
	case "Right":
		return child.Parent == "Outer"
	}
	return n.Join == "Full"
}

// origin is the column of a table that a column of a result comes from.
type origin struct {
	scan     *node
	column   string
	nullable bool // may be null by an outer join
}

// partitionedAlias returns the alias of a partitioned table, given the alias of a partition.
func partitionedAlias(alias string) string {
	return strings.TrimSuffix(strings.TrimRight(alias, "0123456789"), "_")
}

// table returns the name of a scanned table.
func (n *node) table() string { return pgx.Identifier{n.Schema, n.Relation}.Sanitize() }

// origins returns where the expression in n's output comes from, or nothing if it is not a column.
func (n *node) origins(expression string, nullable bool) []origin {
	alias, column, ok := cutColumn(expression)
	if !ok { // with one table, its columns have no alias
		var rest string
		column, rest, ok = cutName(expression)
		ok = ok && rest == ""
	}
	switch {
	case !ok:
		return nil
	case n.Relation != "":
		if alias != "" && alias != n.Alias && alias != partitionedAlias(n.Alias) {
			return nil
		}
		return []origin{{n, column, nullable}}
	}
	at := slices.Index(n.Output, expression)
	var found []origin
	for _, child := range n.Plans {
		text := expression
		switch {
		case child.isSubplan():
			continue
		case (n.Type == "Append" || n.Type == "Merge Append") && at < 0: // of partitions
		case n.Type == "Append" || n.Type == "Merge Append" || n.Type == "Subquery Scan" && alias == n.Alias:
			if at < 0 || len(child.Output) != len(n.Output) {
				return nil
			}
			text = child.Output[at]
		}
		from := child.origins(text, nullable || n.isNullable(child) || n.Sets != nil)
		if from == nil && strings.HasSuffix(n.Type, "Append") {
			return nil
		}
		found = append(found, from...)
	}
	return found
}

// nullable returns why a column of the result may be null, if it is known. If an outer join finds
// nothing, all columns of an embedded struct are null together, which is not a reason.
func (c *checker) nullable(p *node, column int, embedded bool) (why string, known bool) {
	if column >= len(p.Output) {
		return "", false
	}
	found := p.origins(p.Output[column], false)
	if len(found) == 0 {
		return c.computed(p, p.Output[column], embedded)
	}
	for _, o := range found {
		if why, known = c.originIsNull(o, embedded); why != "" || !known {
			return why, known
		}
	}
	return "", true
}

func (c *checker) originIsNull(o origin, embedded bool) (why string, known bool) {
	t, err := c.catalog.table(o.scan.table())
	if err != nil {
		c.Fatalf("pgquerytest: %v", err)
	}
	from := o.scan.Relation + "." + o.column
	if _, ok := t.types[o.column]; !ok { // a constant, such as true
		return "", false
	}
	switch {
	case o.nullable && !embedded:
		return "an outer join or a grouping set may have no row for " + from, true
	case t.isUnknown:
		return "", false
	case !t.notNull[o.column]:
		return from + " is not declared not null", true
	}
	return "", true
}

var (
	literals = regexp.MustCompile(`'(?:[^']|'')*'`)
	columns  = regexp.MustCompile(`(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\.(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)`)
	// notStrict matches expressions that may turn null into a value. Nearly all functions and
	// operators return null for null.
	notStrict = regexp.MustCompile(`(?i)coalesce|case |count|exists|concat|null|distinct|plan|greatest|least|json|` +
		`array|format|num_nonnulls| or | and `)
)

// computed returns why an expression may be null: it uses a column that may be null.
func (c *checker) computed(p *node, expression string, embedded bool) (why string, known bool) {
	expression = literals.ReplaceAllString(expression, "''")
	if strings.HasPrefix(strings.TrimLeft(expression, "("), "NULLIF(") {
		return "NULLIF makes it so", true
	}
	if notStrict.MatchString(expression) {
		return "", false
	}
	for _, column := range columns.FindAllString(expression, -1) {
		for _, o := range p.origins(column, false) {
			if why, _ := c.originIsNull(o, embedded); why != "" {
				return "it is computed from " + o.scan.Relation + "." + o.column + ", which may be null", true
			}
		}
	}
	return "", false
}

// excludesNull reports whether the planner proves that a column of the result is never null: by NOT
// NULL, a check constraint, or Where. The planner plans a search for nulls, and finds nothing to
// do.
func (c *checker) excludesNull(t *decl.Text, column string) bool {
	sql, params := fmt.Sprintf("select 1 from (%s) q where q.%s is null", t.SQL, quote(column)), len(t.Params)
	if c.d.List != nil {
		rows := c.d.List.Text(decl.Variant{Probe: true})
		sql, params = c.probe(rows, nil, "q."+quote(column)+" is null"), 0
	}
	c.texts--
	_, err := c.prepare(&decl.Text{SQL: sql})
	return err == nil && c.explain(params).isEmpty()
}

// isEmpty reports a plan that has no rows.
func (n *node) isEmpty() bool {
	rows := slices.DeleteFunc(slices.Clone(n.Plans), (*node).isSubplan)
	return n.OneTime == "false" || len(rows) > 0 && n.Strategy != "Plain" && n.Sets == nil &&
		!slices.ContainsFunc(rows, func(child *node) bool { return !child.isEmpty() })
}

// cutColumn splits alias.column, as EXPLAIN writes it, without its quotes.
func cutColumn(text string) (alias, column string, ok bool) {
	alias, rest, ok := cutName(text)
	if !ok || !strings.HasPrefix(rest, ".") {
		return "", "", false
	}
	column, rest, ok = cutName(rest[1:])
	return alias, column, ok && rest == ""
}

// cutName reads an identifier at the start of text.
func cutName(text string) (name, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		i := strings.IndexFunc(text, func(r rune) bool {
			return r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && r < 0x80
		})
		if i < 0 {
			i = len(text)
		}
		return text[:i], text[i:], i > 0
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '"':
		case strings.HasPrefix(text[i:], `""`):
			i++
		default:
			return strings.ReplaceAll(text[1:i], `""`, `"`), text[i+1:], true
		}
	}
	return "", "", false
}
