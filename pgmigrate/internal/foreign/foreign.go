// Package foreign recognizes the migration files of other tools.
package foreign

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Tool is the name of a migration tool.
type Tool string

// The tools that are recognized.
const (
	Goose         Tool = "goose"
	SQLMigrate    Tool = "sql-migrate"
	Dbmate        Tool = "dbmate"
	GolangMigrate Tool = "golang-migrate"
	Flyway        Tool = "Flyway"
	Prisma        Tool = "Prisma"
	Diesel        Tool = "Diesel"
	Liquibase     Tool = "Liquibase"
	NodePgMigrate Tool = "node-pg-migrate"
	MyBatis       Tool = "MyBatis Migrations"
	Rambler       Tool = "rambler"
)

// A marker is a comment. Tools differ in what they accept around it, and people in what they write:
// the patterns ignore case, blanks and the end of the line.
var markers = []struct {
	tool    Tool
	pattern *regexp.Regexp
}{
	{Goose, regexp.MustCompile(`(?i)\A\s*(?:--+|/\*+)\s*\+\s*goose\b`)},
	{SQLMigrate, regexp.MustCompile(`(?i)\A\s*(?:--+|/\*+)\s*\+\s*migrate\b`)},
	{Dbmate, regexp.MustCompile(`(?i)\A\s*(?:--+|/\*+)\s*migrate\s*:\s*(?:up|down)\b`)},
	{Liquibase, regexp.MustCompile(`(?i)\A\s*--+\s*(?:liquibase\s+formatted\b|changeset\s+\S+:|rollback\s+\S)`)},
	{NodePgMigrate, regexp.MustCompile(`(?i)\A\s*--+\s*(?:up|down)\s+migration\b`)},
	{MyBatis, regexp.MustCompile(`(?i)\A\s*--+\s*//\s*@\s*undo\b`)},
	{Rambler, regexp.MustCompile(`(?i)\A\s*--+\s*rambler\s+(?:up|down)\b`)},
}

var names = []struct {
	tool    Tool
	pattern *regexp.Regexp
}{
	{GolangMigrate, regexp.MustCompile(`(?i)\A\d+[_-].*\.(?:up|down)\.sql\z`)},
	{Flyway, regexp.MustCompile(`(?i)\A(?:[VUB]\d[\d._]*__.*|R__.+)\.sql\z`)},
}

// OfName returns the tool that uses a file's name, or "".
func OfName(name string) Tool {
	for _, n := range names {
		if n.pattern.MatchString(name) {
			return n.tool
		}
	}
	return ""
}

// OfText returns the tool whose marker is in text, and the marker's line, from 1; or "".
func OfText(text string) (tool Tool, line int) {
	for l := range strings.SplitSeq(text, "\n") {
		line++
		// Skip most lines early.
		if l = strings.TrimLeft(l, "\ufeff \t"); !strings.HasPrefix(l, "--") && !strings.HasPrefix(l, "/*") {
			continue
		}
		for _, m := range markers {
			if m.pattern.MatchString(l) {
				return m.tool, line
			}
		}
	}
	return "", 0
}

var numberedFolder = regexp.MustCompile(`\A\d.*\z`)

// OfFolder returns the tool whose migrations are subfolders of fsys, and one of its files, or "".
func OfFolder(fsys fs.FS, entries []fs.DirEntry) (tool Tool, file string) {
	for _, e := range entries {
		if !e.IsDir() || !numberedFolder.MatchString(e.Name()) {
			continue
		}
		below, _ := fs.ReadDir(fsys, e.Name()) // an unreadable folder has no migrations
		has := func(name string) bool {
			return slices.ContainsFunc(below, func(b fs.DirEntry) bool { return b.Name() == name })
		}
		switch {
		case has("migration.sql"):
			return Prisma, e.Name() + "/migration.sql"
		case has("up.sql"):
			return Diesel, e.Name() + "/up.sql"
		}
	}
	return "", ""
}
