package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// block is a piece of code that runs as a whole, as a profile has it:
// https://pkg.go.dev/golang.org/x/tools/cover#ProfileBlock.
type block struct {
	fromLine, fromColumn, toLine, toColumn int
	statements                             int
}

// function is a declared function, or a function literal outside of one.
type function struct {
	file, name          string // the file's path in the module
	line                int
	statements, reached int
	lines               []string // those not reached, "12" or "12-15"
}

func (f function) String() string {
	if f.reached == f.statements {
		return ""
	}
	return fmt.Sprintf("%6d of %-4d %s:%d %s: %s\n", f.statements-f.reached, f.statements, f.file, f.line, f.name,
		strings.Join(f.lines, ", "))
}

// readFunctions reads a profile. path is the module's path, dir its folder.
func readFunctions(profile, path, dir string) ([]function, error) {
	files := map[string]map[block]bool{} // true if any test reached the block
	for line := range strings.Lines(profile) {
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		colon := strings.LastIndex(line, ":")
		var b block
		var count int
		_, err := fmt.Sscanf(line[colon+1:], "%d.%d,%d.%d %d %d", &b.fromLine, &b.fromColumn, &b.toLine,
			&b.toColumn, &b.statements, &count)
		if err != nil {
			return nil, fmt.Errorf("profile: %q: %w", line, err)
		}
		name := strings.TrimPrefix(line[:colon], path+"/")
		if files[name] == nil {
			files[name] = map[block]bool{}
		}
		files[name][b] = files[name][b] || count > 0
	}
	var all []function
	for name, blocks := range files {
		functions, err := assignBlocks(name, filepath.Join(dir, name), blocks)
		if err != nil {
			return nil, err
		}
		all = append(all, functions...)
	}
	slices.SortFunc(all, func(a, b function) int {
		return cmp.Or((b.statements-b.reached)-(a.statements-a.reached), cmp.Compare(a.file, b.file), a.line-b.line)
	})
	return all, nil
}

// assignBlocks assigns the blocks of a file to its functions.
func assignBlocks(name, path string, blocks map[block]bool) ([]function, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(tree) {
		return nil, nil
	}
	sorted := make([]block, 0, len(blocks))
	for b := range blocks {
		sorted = append(sorted, b)
	}
	slices.SortFunc(sorted, func(a, b block) int { return cmp.Or(a.fromLine-b.fromLine, a.fromColumn-b.fromColumn) })
	var functions []function
	for _, d := range tree.Decls {
		from, to := set.Position(d.Pos()), set.Position(d.End())
		f := function{file: name, name: nameOf(d), line: from.Line}
		for _, b := range sorted {
			if b.fromLine < from.Line || b.fromLine > to.Line || (b.fromLine == to.Line && b.fromColumn > to.Column) {
				continue
			}
			f.statements += b.statements
			switch {
			case blocks[b]:
				f.reached += b.statements
			case b.fromLine == b.toLine:
				f.lines = append(f.lines, fmt.Sprint(b.fromLine))
			default:
				f.lines = append(f.lines, fmt.Sprintf("%d-%d", b.fromLine, b.toLine))
			}
		}
		if f.statements > 0 {
			functions = append(functions, f)
		}
	}
	return functions, nil
}

// nameOf returns the name of a function, with its receiver's type, or "var" for a literal in a
// variable.
func nameOf(d ast.Decl) string {
	fn, ok := d.(*ast.FuncDecl)
	if !ok {
		return "var"
	}
	if fn.Recv == nil {
		return fn.Name.Name
	}
	kind := fn.Recv.List[0].Type
	for {
		switch k := kind.(type) {
		case *ast.StarExpr:
			kind = k.X
		case *ast.IndexExpr:
			kind = k.X
		case *ast.Ident:
			return k.Name + "." + fn.Name.Name
		default:
			return fn.Name.Name
		}
	}
}
