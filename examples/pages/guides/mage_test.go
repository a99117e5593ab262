package guides_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// target is a target of a magefile.
type target struct {
	arguments int
	flags     []string
}

// ofProject is the magefile that pginit writes. A guide's reader has its targets, but not the
// targets that only this repository has.
const ofProject = "pgmage/cmd/pginit/template/mage/magefile.go.tmpl"

// magefile returns the magefile with the targets that a guide may name.
func (g guide) magefile() string {
	if g.ofRepository() {
		return "magefile.go"
	}
	return ofProject
}

// ofRepository reports whether a guide is for a reader who has this repository. A guide in docs/
// must say so.
func (g guide) ofRepository() bool {
	words := strings.Join(strings.Fields(strings.ToLower(g.prose())), " ")
	return !strings.HasPrefix(g.name, "docs/") || strings.Contains(words, "in a checkout of this repository")
}

// targets reads a magefile of the repository and the packages that it imports. A method of a
// namespace is namespace:method, and a pointer parameter is a flag.
func targets(root, magefile string) (map[string]target, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, magefile), nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	found := map[string]target{}
	addTargets(found, "", tree)
	for _, i := range tree.Imports {
		if i.Doc == nil || !strings.HasPrefix(i.Doc.List[0].Text, "//mage:import") {
			continue
		}
		path := strings.Trim(i.Path.Value, `"`)
		files, err := filepath.Glob(filepath.Join(root, strings.TrimPrefix(path, ours), "*.go"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: no such package here", path)
		}
		_, space, _ := strings.Cut(i.Doc.List[0].Text, " ")
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				return nil, err
			}
			if !strings.HasSuffix(tree.Name.Name, "_test") {
				addTargets(found, space, tree)
			}
		}
	}
	return found, nil
}

// addTargets adds the exported functions of a file.
func addTargets(found map[string]target, space string, tree *ast.File) {
	for _, d := range tree.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !fn.Name.IsExported() {
			for _, name := range aliases(d) {
				found[name] = target{}
			}
			continue
		}
		name, prefix := strings.ToLower(fn.Name.Name), space
		if fn.Recv != nil {
			prefix = strings.ToLower(fn.Recv.List[0].Type.(*ast.Ident).Name)
		}
		if prefix != "" {
			name = prefix + ":" + name
		}
		var t target
		for _, p := range fn.Type.Params.List {
			for _, n := range p.Names {
				if _, optional := p.Type.(*ast.StarExpr); optional {
					t.flags = append(t.flags, n.Name)
				} else {
					t.arguments++
				}
			}
		}
		found[name] = t
	}
}

// aliases returns the names in the magefile's map Aliases, or nothing if d is another declaration.
func aliases(d ast.Decl) (names []string) {
	gen, ok := d.(*ast.GenDecl)
	if !ok || gen.Tok != token.VAR {
		return nil
	}
	for _, spec := range gen.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok || value.Names[0].Name != "Aliases" {
			continue
		}
		for _, element := range value.Values[0].(*ast.CompositeLit).Elts {
			key := element.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value
			names = append(names, strings.Trim(key, `"`))
		}
	}
	return names
}

// mage checks the arguments of a call of mage.
func mage(all map[string]target, args []string) error {
	if len(args) == 0 {
		return errors.New("mage: no target")
	}
	if args[0] == "-l" {
		return nil
	}
	t, ok := all[strings.ToLower(args[0])]
	if !ok {
		return fmt.Errorf("mage: there is no target %s", args[0])
	}
	arguments := 0
	for _, a := range args[1:] {
		if !strings.HasPrefix(a, "-") {
			arguments++
			continue
		}
		if name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "="); !slices.Contains(t.flags, name) {
			return fmt.Errorf("mage %s: there is no flag %s", args[0], a)
		}
	}
	if arguments != t.arguments {
		return fmt.Errorf("mage %s: %d arguments, want %d", args[0], arguments, t.arguments)
	}
	return nil
}
