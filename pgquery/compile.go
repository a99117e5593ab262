package pgquery

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgquery/internal/lex"
)

// compiler reads a declaration and collects its mistakes.
type compiler struct {
	kind, name string
	fields     []field // of the argument struct
	used       []bool
	scan       *scanner
	problems   []decl.Problem
	err        error // a *DeclarationError
}

func newCompiler(kind, name string, args, row reflect.Type) *compiler {
	c := &compiler{kind: kind, name: name}
	if !isWord(name) {
		c.fail("Name", "must be letters, digits and underscores: statistics and traces show it")
	}
	var err error
	if c.fields, err = fieldsOf(args); err != nil {
		c.fail("arguments", "%v", err)
	}
	for _, f := range c.fields {
		if f.isAmbiguous() {
			c.fail("arguments", "field %s: whether %s is null cannot be told", f.name, f.declared)
		}
	}
	c.used = make([]bool, len(c.fields))
	if c.scan, err = newScanner(row); err != nil {
		c.fail("row", "%v", err)
	}
	return c
}

func (c *compiler) fail(piece, format string, args ...any) {
	c.problems = append(c.problems, decl.Problem{Piece: piece, Text: fmt.Sprintf(format, args...)})
}

// finish reports the fields that no text uses, because a filter may be missing or misspelled. It
// also sets the error.
func (c *compiler) finish() {
	for i, used := range c.used {
		if !used {
			c.fail("arguments", "nothing uses the field %s", c.fields[i].name)
		}
	}
	if len(c.problems) == 0 {
		return
	}
	e := &DeclarationError{Name: c.name}
	for _, p := range c.problems {
		e.Problems = append(e.Problems, p.Piece+": "+p.Text)
	}
	c.err = e
}

// describe returns the part of a declaration that all kinds share, for package pgquerytest.
func (c *compiler) describe() *decl.Declaration {
	d := &decl.Declaration{Kind: c.kind, Name: c.name, Problems: c.problems}
	if c.err == nil {
		d.Row, d.Named = c.scan.describe(), c.scan.indexOf
		for _, f := range c.fields {
			d.Args = append(d.Args, decl.Argument{Name: f.name, Type: f.typ})
		}
	}
	return d
}

// title returns the kind and the name for an error.
func (c *compiler) title() string { return strings.ToLower(c.kind) + " " + c.name }

func (c *compiler) wrap(err error) error { return fmt.Errorf("pgquery: %s: %w", c.title(), err) }

// refuse returns an ArgumentError if there is a reason.
func (c *compiler) refuse(argument, reason string) error {
	if reason == "" {
		return nil
	}
	return &ArgumentError{Declaration: c.title(), Argument: argument, Reason: reason}
}

// bind appends the values of a text's parameters; keys are the cursor's.
func (c *compiler) bind(values []any, t *decl.Text, args reflect.Value, keys []any) ([]any, error) {
	for _, p := range t.Params {
		if p.Key >= 0 {
			values = append(values, encodable(keys[p.Key]))
			continue
		}
		f := &c.fields[p.Arg]
		value, reason := f.bind(args)
		if err := c.refuse(f.name, reason); err != nil {
			return nil, err
		}
		values = append(values, encodable(value))
	}
	return values, nil
}

// run sends a text and reads its rows. It expects about n of them.
func run[R any](ctx context.Context, db DB, c *compiler, t *decl.Text, values []any, n int) ([]R, error) {
	rows, err := db.Query(ctx, t.SQL, values...)
	if err != nil {
		return nil, c.wrap(err)
	}
	found, err := collect(c.scan, rows, make([]R, 0, min(n, maxAllocated)))
	if err != nil {
		return nil, c.wrap(err)
	}
	return found, nil
}

// piece is a declared text with resolved arguments.
type piece struct {
	tokens []lex.Token
	args   []int // the field of each argument, in order of the text; -1 if there is none
}

// clauses are the words that end the part of a SELECT that a list declares.
var clauses = []string{
	"where", "group", "having", "window", "union", "intersect", "except",
	"order", "limit", "offset", "fetch", "for", "into",
}

// reservedPrefix begins the names that this module uses inside a statement.
const reservedPrefix = `"pgquery.`

// piece reads a declared text. Outside of parentheses it must not contain the forbidden words.
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
		case t.Kind == lex.Quoted && strings.HasPrefix(t.Text, reservedPrefix):
			c.fail(name, "%s: names that begin with pgquery. are taken", t.Text)
		case t.Kind == lex.Argument:
			p.args = append(p.args, c.field(name, "@"+t.Text, t.Text))
		}
	}
	return p
}

// field returns the field of that name and marks it as used. If there is none, it reports a problem
// and returns -1.
func (c *compiler) field(piece, what, name string) int {
	i := findField(c.fields, name)
	if i < 0 {
		var names []string
		for _, f := range c.fields {
			names = append(names, f.name)
		}
		c.fail(piece, "%s has no field in the argument struct; it has %s", what, strings.Join(names, ", "))
		return -1
	}
	c.used[i] = true
	return i
}

// readRequired reads a text that is part of every statement, so none of its arguments may be left
// out. If a slice or map is nil, the call returns an error.
func (c *compiler) readRequired(name, text string, forbidden ...string) piece {
	p := c.piece(name, text, forbidden...)
	for _, i := range p.args {
		if i < 0 {
			continue
		}
		f := &c.fields[i]
		if f.isPlain() || f.presence == byNil && f.declared.Kind() != reflect.Pointer {
			continue
		}
		c.fail(name, "the field %s may be left out: it must not be a pointer or an Optional", f.name)
	}
	return p
}

// readStatic reads a text that must not have arguments.
func (c *compiler) readStatic(name, text string, forbidden ...string) piece {
	p := c.piece(name, text, forbidden...)
	if len(p.args) > 0 {
		c.fail(name, "cannot have arguments")
	}
	return p
}

// table reads the name of a table.
func (c *compiler) table(text string) piece {
	p := c.readStatic("Table", text)
	n := 0
	for _, t := range p.tokens {
		if t.Kind == lex.Space {
			continue
		}
		if isDot := t.Text == "."; isDot != (n%2 == 1) || !isDot && t.Kind == lex.Symbol {
			c.fail("Table", "must be a name, without an alias")
			break
		}
		n++
	}
	return p
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

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// unquote returns the name that an identifier of SQL means. The server folds ASCII only.
func unquote(word string) string {
	if quoted, ok := strings.CutPrefix(word, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, word)
}

// maxTexts limits the texts that a declaration keeps. Others are built each time, in microseconds.
const maxTexts = 1024

// texts keeps the texts of a declaration. It is safe for concurrent use.
type texts[K comparable] struct {
	mu    sync.RWMutex
	known map[K]*decl.Text
}

// get returns the text of a variant, and builds it the first time.
func (t *texts[K]) get(k K, build func(K) *decl.Text) *decl.Text {
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
		t.known = map[K]*decl.Text{}
	}
	if len(t.known) < maxTexts {
		t.known[k] = built
	}
	return built
}

// writer puts a text together.
type writer struct {
	strings.Builder
	text          decl.Text
	each          bool   // every use of an argument gets its own parameter
	before, after string // the number of a parameter
}

// newWriter begins a text with a comment that traces show; sqlc writes the same.
func newWriter(name, rows string) *writer {
	w := &writer{before: "$"}
	w.WriteString("-- name: " + name + " :" + rows + "\n")
	return w
}

// newProbe begins a text for package pgquerytest. Its arguments are columns of "pgquery.probe".
func newProbe(params []decl.Param) *writer {
	return &writer{text: decl.Text{Params: params}, before: `"pgquery.probe"."`, after: `"`}
}

// param writes a placeholder, and returns its number.
func (w *writer) param(p decl.Param) int {
	i := slices.Index(w.text.Params, p)
	if i < 0 || w.each {
		i = len(w.text.Params)
		w.text.Params = append(w.text.Params, p)
	}
	w.WriteString(w.before + strconv.Itoa(i+1) + w.after)
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
		w.param(decl.Param{Arg: p.args[next], Key: -1})
		next++
	}
}

func (w *writer) end() *decl.Text {
	w.text.SQL = w.String()
	return &w.text
}
