package load

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Script is a file of plain SQL, without templates and sections: a seed or a repeatable migration.
type Script struct {
	Path, SQL, Checksum string
}

// Scripts reads the *.sql files at the top of a folder, in the order of their names.
func Scripts(fsys fs.FS, folder string) ([]Script, []Problem, error) {
	entries, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return nil, nil, err
	}
	var scripts []Script
	var problems []Problem
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		s := Script{Path: path.Join(folder, e.Name())}
		body, err := fs.ReadFile(fsys, s.Path)
		if err != nil {
			return nil, nil, err
		}
		s.SQL = string(body)
		sum := sha256.Sum256([]byte(strings.ReplaceAll(s.SQL, "\r\n", "\n")))
		s.Checksum = hex.EncodeToString(sum[:])
		scripts = append(scripts, s)
		if p, bad := s.check(); bad {
			problems = append(problems, p)
		}
	}
	return scripts, problems, nil
}

// check returns the first thing that is wrong with the text, if anything is.
func (s Script) check() (p Problem, bad bool) {
	if p, bad := checkEncoding(s.Path, s.SQL); bad {
		return p, true
	}
	bad = true
	statements, faults := sqlscan.Split(s.SQL)
	p = Problem{File: s.Path}
	at := func(offset int) { p.Line = 1 + strings.Count(s.SQL[:offset], "\n") }
	for _, statement := range statements {
		at(statement.Start)
		if statement.CopyData {
			p.Detail, p.Hint = copyDetail, "write INSERT"
			return p, bad
		}
		if statement.EndsTransaction() {
			p.Detail, p.Hint = statement.Words[0]+": the file runs in a transaction already", "remove it"
			return p, bad
		}
	}
	for _, d := range Directives(s.SQL, statements) {
		if at(d.Offset); d.Name == "check" {
			p.Detail, p.Hint = "only a migration has checks", "remove it"
			return p, bad
		}
	}
	if len(faults) > 0 {
		at(faults[0].Offset)
		p.Detail, p.Hint = describeFault(faults[0])
		return p, bad
	}
	return Problem{}, false
}
