package lint

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/wasilibs/go-pgquery/parser"
)

// The parser is PostgreSQL 17's own, compiled to WebAssembly: without a C compiler, but the first
// parse of a process compiles it.

// parsing lets one parse run at a time: the parser keeps its compiled instances in a pool of the
// process, and a parse that finds none idle compiles another.
var parsing sync.Mutex

func parseSQL(sql string) (string, error) {
	parsing.Lock()
	defer parsing.Unlock()
	return parser.ParseToJSON(sql)
}

func parsePLpgSQL(sql string) (string, error) {
	parsing.Lock()
	defer parsing.Unlock()
	return parser.ParsePlPgSqlToJSON(sql)
}

// Warm makes the parser compile itself, a second or two on one core, which the first parse of a
// process does otherwise. Call it on a goroutine beside what makes the shadow.
func Warm() { _, _ = parseSQL("select 1") }

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

// parsed is a statement as far as it could be read. Without a tree, because the grammar is newer
// than the parser, only what is observed is judged.
type parsed struct {
	kind string // such as AlterTableStmt; "" if it could not be parsed
	node node
	body []parsed // statements of a DO block, those of dynamic SQL included if they are literals
}

func parse(sql string) parsed {
	p := parseOne(sql)
	if p.kind == "DoStmt" {
		p.body = parseBlock(sql)
	}
	return p
}

func parseOne(sql string) parsed {
	out, err := parseSQL(sql)
	if err != nil {
		return parsed{}
	}
	var tree struct {
		Stmts []struct {
			Stmt map[string]any `json:"stmt"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(out), &tree); err != nil || len(tree.Stmts) == 0 {
		return parsed{}
	}
	for kind, n := range tree.Stmts[0].Stmt {
		return parsed{kind: kind, node: asNode(n)}
	}
	return parsed{}
}

// parseBlock returns the statements of a DO block.
func parseBlock(sql string) []parsed {
	out, err := parsePLpgSQL(sql)
	if err != nil {
		return nil
	}
	var tree any
	if err := json.Unmarshal([]byte(out), &tree); err != nil {
		return nil
	}
	var body []parsed
	each(tree, "PLpgSQL_stmt_execsql", func(n node) {
		if p := parseOne(n.node("sqlstmt").node("PLpgSQL_expr").text("query")); p.kind != "" {
			body = append(body, p)
		}
	})
	each(tree, "PLpgSQL_stmt_dynexecute", func(n node) {
		// The expression is SQL of its own: a literal is all that can be read without running it.
		if literal, ok := stringLiteral(n.node("query").node("PLpgSQL_expr").text("query")); ok {
			if p := parseOne(literal); p.kind != "" {
				body = append(body, p)
			}
		}
	})
	return body
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

// all returns the statement and those of its body.
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
