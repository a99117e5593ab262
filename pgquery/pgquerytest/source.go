package pgquerytest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// source finds declarations in the Go files of the module that is tested.
type source struct {
	root string
	dir  string // of the test
}

func newSource() *source {
	dir, err := os.Getwd() // go test runs in the folder of the package
	if err != nil {
		return &source{}
	}
	for root := dir; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return &source{root: root, dir: dir}
		}
		if root == filepath.Dir(root) {
			return &source{root: dir, dir: dir}
		}
	}
}

// line returns "file:line: " of a piece of a declaration, of the declaration if it has no line of
// its own, or "" if no file of the module declares it.
func (s *source) line(d *decl.Declaration, piece string) string {
	if place := s.search(s.dir, d, piece); place != "" { // two modules' tests may use a name
		return place
	}
	return s.search(s.root, d, piece)
}

func (s *source) search(root string, d *decl.Declaration, piece string) (place string) {
	field, element, _ := strings.Cut(strings.TrimSuffix(piece, "]"), "[")
	element, _, _ = strings.Cut(element, "]")
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read declares nothing
		case e.IsDir() && path != root && (e.Name() == "vendor" || e.Name()[0] == '.'):
			return fs.SkipDir
		case e.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(strconv.Quote(d.Name))) {
			return nil //nolint:nilerr // what cannot be read declares nothing
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return nil //nolint:nilerr // the compiler says so
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok || place != "" || !isKind(literal.Type, d.Kind) || !named(literal, d.Name) {
				return place == ""
			}
			at := files.Position(find(literal, field, element))
			if short, err := filepath.Rel(s.dir, at.Filename); err == nil {
				at.Filename = short
			}
			place = fmt.Sprintf("%s:%d: ", at.Filename, at.Line)
			return false
		})
		if place != "" {
			return fs.SkipAll
		}
		return nil
	})
	return place
}

// isKind reports the type pgquery.List[…] or List[…], or no type, as in a slice of them.
func isKind(t ast.Expr, kind string) bool {
	switch t := t.(type) {
	case nil:
		return true
	case *ast.IndexListExpr:
		return isKind(t.X, kind)
	case *ast.SelectorExpr:
		return t.Sel.Name == kind
	case *ast.Ident:
		return t.Name == kind
	}
	return false
}

func named(literal *ast.CompositeLit, name string) bool {
	value, ok := element(literal, "Name").(*ast.BasicLit)
	return ok && value.Value == strconv.Quote(name)
}

// find returns the position of a field of the literal, or of an element of it.
func find(literal *ast.CompositeLit, field, key string) token.Pos {
	value := element(literal, field)
	if value == nil {
		return literal.Pos()
	}
	if inner, ok := value.(*ast.CompositeLit); ok && key != "" {
		for _, e := range inner.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				e = pair.Key
			}
			if text, ok := e.(*ast.BasicLit); ok && text.Value == strconv.Quote(key) {
				return e.Pos()
			}
		}
	}
	return value.Pos()
}

func element(literal *ast.CompositeLit, field string) ast.Expr {
	for _, e := range literal.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := pair.Key.(*ast.Ident); ok && key.Name == field {
			return pair.Value
		}
	}
	return nil
}
