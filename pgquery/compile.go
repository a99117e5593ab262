package pgquery

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// piece is a declared text whose arguments are resolved.
type piece struct {
	tokens []lex.Token
	args   []int // the field of each argument, in order of the text
}

// compiler collects what is wrong with a declaration.
type compiler struct {
	fields   []field // of the argument struct
	used     []bool
	problems []decl.Problem
}

func newCompiler(name string, args reflect.Type) *compiler {
	c := &compiler{}
	if !isWord(name) {
		c.fail("Name", "must be letters, digits and underscores: statistics and traces show it")
	}
	fields, err := fieldsOf(args)
	if err != nil {
		c.fail("arguments", "%v", err)
	}
	for i := range fields {
		if fields[i].isAmbiguous() {
			c.fail("arguments", "field %s: whether %s is null cannot be told", fields[i].name, fields[i].declared)
		}
	}
	c.fields, c.used = fields, make([]bool, len(fields))
	return c
}

func (c *compiler) fail(piece, format string, args ...any) {
	c.problems = append(c.problems, decl.Problem{Piece: piece, Text: fmt.Sprintf(format, args...)})
}

// err returns the problems as an error, or nil.
func (c *compiler) err(name string) error {
	if len(c.problems) == 0 {
		return nil
	}
	e := &DeclarationError{Name: name}
	for _, p := range c.problems {
		e.Problems = append(e.Problems, p.Piece+": "+p.Text)
	}
	return e
}

// clauses are the words that end the part of a SELECT that a list declares.
var clauses = []string{
	"where", "group", "having", "window", "union", "intersect", "except",
	"order", "limit", "offset", "fetch", "for", "into",
}

// piece reads a declared text. Words outside of parentheses must not be among forbidden.
func (c *compiler) piece(name, text string, forbidden ...string) piece {
	tokens, err := lex.Tokens(text)
	if err != nil {
		c.fail(name, "%v", err)
		return piece{}
	}
	p := piece{tokens: tokens}
	for _, t := range tokens {
		switch {
		case t.Kind == lex.Word && t.Depth == 0 && slices.Contains(forbidden, strings.ToLower(t.Text)):
			c.fail(name, "has a %s of its own", t.Text)
		case t.Kind == lex.Argument:
			i := findField(c.fields, t.Text)
			if i < 0 {
				c.fail(name, "@%s has no field in the argument struct; it has %s", t.Text, c.fieldNames())
				continue
			}
			c.used[i] = true
			p.args = append(p.args, i)
		}
	}
	return p
}

// always reads a text that is part of every statement: none of its arguments may be left out.
func (c *compiler) always(name, text string, forbidden ...string) piece {
	p := c.piece(name, text, forbidden...)
	for _, i := range p.args {
		switch f := &c.fields[i]; f.presence {
		case required, byFlag:
		case byNil:
			if f.declared.Kind() != reflect.Pointer {
				continue // a slice is missing if it is nil, which is an error then
			}
			fallthrough
		default:
			c.fail(name, "the field %s may be left out: it must not be a pointer or an Optional", f.name)
		}
	}
	return p
}

// static reads a text that has no arguments.
func (c *compiler) static(name, text string, forbidden ...string) piece {
	p := c.piece(name, text, forbidden...)
	if len(p.args) > 0 {
		c.fail(name, "cannot have arguments")
	}
	return p
}

// table reads the name of a table.
func (c *compiler) table(text string) piece {
	p := c.static("Table", text)
	for _, t := range p.tokens {
		if t.Kind == lex.Symbol && t.Text != "." {
			c.fail("Table", "must be a name")
		}
	}
	return p
}

func (c *compiler) fieldNames() string {
	var names []string
	for _, f := range c.fields {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// unused reports the fields that no text needs: a filter may be missing or misspelled.
func (c *compiler) unused() {
	for i, used := range c.used {
		if !used {
			c.fail("arguments", "nothing uses the field %s", c.fields[i].name)
		}
	}
}

func (c *compiler) describe() (args []decl.Argument) {
	for i := range c.fields {
		args = append(args, c.fields[i].describe())
	}
	return args
}

// isArgument reports whether SQL may call a field by that name.
func (c *compiler) isArgument(field, name string) bool {
	i := findField(c.fields, name)
	return i >= 0 && c.fields[i].name == field
}

// isWord reports a name that a comment and a trace can hold.
func isWord(name string) bool {
	for i, r := range name {
		if r != '_' && (r|0x20 < 'a' || r|0x20 > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// param is a parameter of a text: a field of the argument struct, or a column of the sort.
type param struct {
	field int
	key   int
}

// text is an SQL text that is ready to be sent.
type text struct {
	sql    string
	params []param
	ranges []decl.Range
}

// maxTexts bounds the texts that a declaration keeps. Others are put together each time, in
// microseconds.
const maxTexts = 1024

// texts keeps the texts of a declaration. It is safe for concurrent use.
type texts[K comparable] struct {
	mu    sync.RWMutex
	known map[K]*text
}

// get returns the text of a variant, and builds it the first time.
func (t *texts[K]) get(k K, build func(K) *text) *text {
	t.mu.RLock()
	known := t.known[k]
	t.mu.RUnlock()
	if known != nil {
		return known
	}
	built := build(k)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = map[K]*text{}
	}
	if len(t.known) < maxTexts {
		t.known[k] = built
	}
	return built
}

// writer puts a text together.
type writer struct {
	strings.Builder
	params []param
	each   bool // every use of an argument gets its own parameter
}

// param writes a placeholder, and returns its number.
func (w *writer) param(p param) int {
	i := slices.Index(w.params, p)
	if i < 0 || w.each {
		i = len(w.params)
		w.params = append(w.params, p)
	}
	w.WriteByte('$')
	w.WriteString(strconv.Itoa(i + 1))
	return i + 1
}

// piece writes a declared text.
func (w *writer) piece(p piece) {
	next := 0
	for _, t := range p.tokens {
		if t.Kind != lex.Argument {
			w.WriteString(t.Text)
			continue
		}
		w.param(param{field: p.args[next], key: -1})
		next++
	}
}

func (w *writer) text() *text { return &text{sql: w.String(), params: w.params} }
