//go:build mage

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"unicode/utf8"
)

// commentWidth is the maximum width of a comment's line, with tabs of four columns.
const commentWidth = 100

var (
	directive      = regexp.MustCompile(`^//[a-z]+[a-z0-9]*:`)
	expectedOutput = regexp.MustCompile(`(?i)^// *(unordered )?output:`)
)

// checkComments fails if a line that holds nothing but a comment is wider than commentWidth.
// Generated files, directives and the expected output of examples cannot be wrapped.
func checkComments() error {
	files, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	var wide []string
	for file := range strings.Lines(string(files)) {
		found, err := wideComments(strings.TrimSpace(file))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // deleted but not yet committed
			return err
		}
		wide = append(wide, found...)
	}
	if len(wide) > 0 {
		return fmt.Errorf("comments wider than %d columns:\n%s", commentWidth, strings.Join(wide, "\n"))
	}
	return nil
}

// wideComments returns where a file has comments that are too wide.
func wideComments(file string) (wide []string, err error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(tree) {
		return nil, nil
	}
	lines := strings.Split(string(source), "\n")
	for _, group := range tree.Comments {
		for _, comment := range group.List {
			if expectedOutput.MatchString(comment.Text) {
				break
			}
			position := files.Position(comment.Pos())
			indent := lines[position.Line-1][:position.Column-1]
			width := utf8.RuneCountInString(strings.ReplaceAll(indent+comment.Text, "\t", "    "))
			if strings.Trim(indent, "\t") == "" && !directive.MatchString(comment.Text) && width > commentWidth {
				wide = append(wide, fmt.Sprintf("%s:%d: %d", file, position.Line, width))
			}
		}
	}
	return wide, nil
}
