// Package importer converts the migrations of other tools to tern's format.
//
// It reads goose, golang-migrate, sql-migrate, dbmate, Prisma, Flyway, and plain folders of SQL
// files. It writes nothing: it returns the files and notes for a person.
package importer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/foreign"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Result is a converted folder.
type Result struct {
	Tool  string // that made the files; "plain SQL" for a folder without a tool's markers
	Files []File // in the order of their new numbers
	// Notes lists what a person must check, one line each, with the file.
	Notes []string
}

// File is one converted migration.
type File struct {
	Name string // such as 001_create_pages.sql
	From string // the file it comes from
	Body string
}

// migration is one migration of another tool.
type migration struct {
	from     string
	name     string // without number and extension
	order    []int  // sorts the migrations
	up, down string
	// The section must not run in a transaction.
	upAlone, downAlone bool
}

// Convert reads the migrations at the top of fsys, or in its subfolders for Prisma, and returns
// them in tern's format, numbered 1, 2, 3 and so on. It returns an error if it finds none, or if it
// cannot tell their order. It writes nothing.
func Convert(fsys fs.FS) (Result, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	c := converter{fsys: fsys}
	c.noteFolders(entries)
	tool, err := c.tool(entries)
	if err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	switch tool {
	case foreign.Prisma, foreign.Diesel:
		err = c.readFolders(entries)
	case foreign.GolangMigrate:
		err = c.readPairs(entries)
	case foreign.Flyway:
		err = c.readFlyway(entries)
	case foreign.Goose, foreign.SQLMigrate, foreign.Dbmate, "":
		err = c.readMarked(entries, tool)
	default:
		err = fmt.Errorf("the files are %s's, which cannot be converted: write them by hand", tool)
	}
	if err == nil && len(c.migrations) == 0 {
		err = errors.New("there are no migrations in this folder")
	}
	if err == nil {
		err = c.sort()
	}
	if err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	result := Result{Tool: string(tool), Files: c.files(), Notes: c.notes}
	if tool == "" {
		result.Tool = "plain SQL"
	}
	return result, nil
}

type converter struct {
	fsys       fs.FS
	migrations []migration
	notes      []string
}

// noteFolders names the subfolders with SQL files that are not read. Flyway reads them all.
func (c *converter) noteFolders(entries []fs.DirEntry) {
	for _, e := range entries {
		below, _ := fs.ReadDir(c.fsys, e.Name()) // an unreadable folder has no migrations
		isMigration := func(b fs.DirEntry) bool {
			return foreign.OfName(b.Name()) != "" || numberedFile.MatchString(b.Name())
		}
		if e.IsDir() && slices.ContainsFunc(below, isMigration) {
			c.note(e.Name(), "the files in this folder are left out: move them to the top, or import them "+
				"by themselves")
		}
	}
}

func (c *converter) note(file, format string, args ...any) {
	c.notes = append(c.notes, file+": "+fmt.Sprintf(format, args...))
}

// tool returns the tool that made the files. It refuses a folder with files of two tools.
func (c *converter) tool(entries []fs.DirEntry) (foreign.Tool, error) {
	tool, file := foreign.OfFolder(c.fsys, entries)
	for _, e := range entries {
		if e.IsDir() || !isSQL(e.Name()) {
			continue
		}
		t := foreign.OfName(e.Name())
		if t == "" {
			body, err := fs.ReadFile(c.fsys, e.Name())
			if err != nil {
				return "", err
			}
			t, _ = foreign.OfText(string(body))
		}
		if t != "" && tool != "" && t != tool {
			return "", fmt.Errorf("%s is %s's and %s is %s's: convert them folder by folder", file, tool, e.Name(), t)
		}
		if t != "" {
			tool, file = t, e.Name()
		}
	}
	return tool, nil
}

func isSQL(name string) bool { return strings.EqualFold(path.Ext(name), ".sql") }

func (c *converter) read(name string) (string, error) {
	body, err := fs.ReadFile(c.fsys, name)
	if err != nil {
		return "", err
	}
	text := strings.TrimPrefix(string(body), "\ufeff")
	return strings.ReplaceAll(text, "\r\n", "\n"), nil
}

const (
	sectionMarker   = "---- create above / drop below ----"
	disableTxMarker = "---- tern: disable-tx ----"
)

// files writes the migrations in tern's format.
func (c *converter) files() []File {
	width := max(3, len(fmt.Sprint(len(c.migrations))))
	var files []File
	for i, m := range c.migrations {
		up := c.section(m.from, "up", m.up, m.upAlone)
		if len(statements(up)) == 0 {
			up = strings.TrimSpace("select 1; -- it has no statement\n" + up)
			c.note(m.from, "it has no statement to apply, and runs \"select 1\"")
		}
		body := up + "\n"
		if down := c.section(m.from, "down", m.down, m.downAlone); len(statements(down)) > 0 {
			body += "\n" + sectionMarker + "\n\n" + down + "\n"
		}
		files = append(files, File{Name: fmt.Sprintf("%0*d_%s.sql", width, i+1, m.name), From: m.from, Body: body})
	}
	return files
}

func statements(sql string) []sqlscan.Statement {
	list, _ := sqlscan.Split(sql)
	return list
}

// withoutTransaction removes the BEGIN and the COMMIT around all other statements, if there are
// such.
func withoutTransaction(sql string) (inner string, ok bool) {
	list := statements(sql)
	if len(list) < 2 {
		return sql, false
	}
	for i, s := range list {
		words := strings.Join(s.Words, " ")
		switch {
		case i == 0:
			ok = slices.Contains([]string{"begin", "begin work", "begin transaction", "start transaction"}, words)
		case i == len(list)-1:
			ok = ok && slices.Contains([]string{"commit", "commit work", "commit transaction", "end"}, words)
		case s.EndsTransaction():
			ok = false
		}
		if !ok {
			return sql, false
		}
	}
	first, last := list[0], list[len(list)-1]
	var parts []string
	for _, part := range []string{sql[:first.Start], sql[first.End:last.Start], sql[last.End:]} {
		part = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(part), ";"))
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n"), true
}

var (
	// PostgreSQL refuses these inside a transaction.
	needsNoTransaction = regexp.MustCompile(`(?is)\A(?:(?:create\s+(?:unique\s+)?|drop\s+)index\s+concurrently|` +
		`reindex\b.*\bconcurrently|alter\s+table\s.*\sdetach\s.*\sconcurrently|vacuum|` +
		`create\s+database|drop\s+database|alter\s+system|create\s+tablespace)\b`)
	templateMark = regexp.MustCompile(`\{\{`)
)

// section converts the SQL of one direction.
func (c *converter) section(from, direction, sql string, noTransaction bool) string {
	sql = strings.TrimSpace(sql)
	if sql == "" {
		return ""
	}
	if n := strings.Count(sql, "{{"); n > 0 {
		sql = templateMark.ReplaceAllLiteralString(sql, `{{"{{"}}`)
		c.note(from, "%s: {{ is written as {{\"{{\"}}, because tern's files are templates", direction)
	}
	if !noTransaction {
		if inner, ok := withoutTransaction(sql); ok {
			sql = inner
			c.note(from, "%s: its BEGIN and COMMIT are left out, because the section runs in a transaction", direction)
		}
		for _, s := range statements(sql) {
			if needsNoTransaction.MatchString(sql[s.Start:s.End]) {
				noTransaction = true
				c.note(from, "%s: %s cannot run in a transaction, so the section runs without one: give it a "+
					"migration of its own", direction, strings.Join(s.Words[:min(len(s.Words), 3)], " "))
				break
			}
		}
	}
	if noTransaction {
		return disableTxMarker + "\n" + sql
	}
	return sql
}
