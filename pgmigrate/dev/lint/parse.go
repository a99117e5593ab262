package lint

import (
	"encoding/json"
	"strings"

	"github.com/sqlc-dev/oliphant/parser"
)

// node is a node of the parse tree: the fields that are set, by PostgreSQL's names.
type node map[string]any

func (n node) node(field string) node { return asNode(n[field]) }
func (n node) text(field string) string {
	s, _ := n[field].(string)
	return s
}

func (n node) is(field string) bool {
	b, _ := n[field].(bool)
	return b
}

func (n node) list(field string) []any {
	l, _ := n[field].([]any)
	return l
}

func asNode(v any) node {
	m, _ := v.(map[string]any)
	return m
}

// parsed is a statement and its tree. A grammar that is newer than the parser leaves no tree: then
// only observations are judged.
type parsed struct {
	kind   string // such as AlterTableStmt; "" if it could not be parsed
	node   node
	body   []parsed // statements of a DO block and of called functions; dynamic SQL if it is a literal
	opaque bool     // it runs SQL that is not in body
}

func parse(sql string) parsed {
	p := parseOne(sql)
	p.opaque = p.kind == "ExecuteStmt"
	if p.kind == "DoStmt" {
		p.body, p.opaque = parseBody(sql)
	}
	return p
}

func parseOne(sql string) parsed {
	if all := parseAll(sql); len(all) > 0 {
		return all[0]
	}
	return parsed{}
}

func parseAll(sql string) []parsed {
	out, err := parser.ParseToJSON(sql)
	if err != nil {
		return nil
	}
	var tree struct {
		Stmts []struct {
			Stmt map[string]any `json:"stmt"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(out), &tree); err != nil {
		return nil
	}
	var all []parsed
	for _, s := range tree.Stmts {
		for kind, n := range s.Stmt {
			all = append(all, parsed{kind: kind, node: asNode(n)})
		}
	}
	return all
}

// parseBody returns the statements and expressions of a PL/pgSQL function or DO block, and whether
// it runs dynamic SQL that is not a literal.
func parseBody(sql string) (body []parsed, opaque bool) {
	out, err := parser.ParsePlPgSqlToJSON(sql)
	if err != nil {
		return nil, true
	}
	var tree any
	if err := json.Unmarshal([]byte(out), &tree); err != nil {
		return nil, true
	}
	each(tree, "PLpgSQL_expr", func(n node) {
		query := n.text("query")
		for _, sql := range []string{query, "select " + query, "select " + query[strings.Index(query, ":=")+1:]} {
			if p := parseOne(strings.Replace(sql, "select =", "select ", 1)); p.kind != "" {
				body = append(body, p)
				return
			}
		}
	})
	dynamic := func(expression node) {
		if expression == nil {
			return
		}
		// The expression is SQL of its own: a literal is all that can be read without running it.
		literal, ok := stringLiteral(expression.node("PLpgSQL_expr").text("query"))
		opaque = opaque || !ok
		body = append(body, parseAll(literal)...)
	}
	for _, kind := range []string{"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"} {
		each(tree, kind, func(n node) { dynamic(n.node("query")) })
	}
	for _, kind := range []string{"PLpgSQL_stmt_return_query", "PLpgSQL_stmt_open"} {
		each(tree, kind, func(n node) { dynamic(n.node("dynquery")) })
	}
	return body, opaque
}

func stringLiteral(expression string) (string, bool) {
	p := parseOne("select " + expression)
	targets := p.node.list("targetList")
	if len(targets) != 1 {
		return "", false
	}
	s, ok := asNode(targets[0]).node("ResTarget").node("val").node("A_Const").node("sval")["sval"].(string)
	return s, ok
}

// runsQueries reports whether the statement runs the queries in it, and does not only store them.
func (p parsed) runsQueries() bool {
	switch p.kind {
	case "UpdateStmt",
		"DeleteStmt",
		"InsertStmt",
		"MergeStmt",
		"SelectStmt",
		"DoStmt",
		"CallStmt",
		"CreateTableAsStmt",
		"ExplainStmt",
		"ExecuteStmt":
		return true
	default:
		return false
	}
}

// each calls fn for every node of that kind in the tree.
func each(tree any, kind string, fn func(node)) {
	switch t := tree.(type) {
	case map[string]any:
		for k, v := range t {
			if k == kind {
				fn(asNode(v))
			}
			each(v, kind, fn)
		}
	case []any:
		for _, v := range t {
			each(v, kind, fn)
		}
	}
}

// all returns the statement and the statements of its body.
func (p parsed) all() []parsed { return append([]parsed{p}, p.body...) }

// each calls fn for every node of that kind in the statement and its body, the statement itself
// included.
func (p parsed) each(kind string, fn func(node)) {
	for _, s := range p.all() {
		if s.kind == kind {
			fn(s.node)
		}
		each(map[string]any(s.node), kind, fn)
	}
}

// hasOption reports whether a list of DefElem has the option, and not as false.
func hasOption(options []any, name string) bool {
	for _, o := range options {
		d := asNode(o).node("DefElem")
		if d.text("defname") != name {
			continue
		}
		arg := d.node("arg")
		if number, ok := arg["Integer"]; ok {
			return asNode(number)["ival"] != nil // 0 is left out of the tree
		}
		switch strings.ToLower(arg.node("String").text("sval")) {
		case "false", "off", "0":
			return false
		}
		return true
	}
	return false
}

// rangeVar is a relation as a statement names it.
func rangeVar(n node) (schema, name string) { return n.text("schemaname"), n.text("relname") }
