package load

import (
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/internal/gate"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// Directive is a comment -- pgmigrate:NAME TEXT, or one that is nearly that.
type Directive struct {
	Name, Text string
	Offset     int
	Statement  int // the number of the statement below it, from 1; one more than there are if none follows
}

var (
	directive       = regexp.MustCompile(`\A--+[ \t]*pgmigrate:([^\s]+)[ \t]*(.*?)[ \t\r]*\z`)
	almostDirective = regexp.MustCompile(`(?i)\A(?:--|/\*)\W*pg[-_]?migrate\s*:\s*(requires?\b)`)
)

const requiresBackfill = "requires-backfill"

// knownDirectives are those of this module and of pgmigrate-dev.
var knownDirectives = []string{"allow", "check", requiresBackfill}

// Directives returns the directives between the statements of sql.
func Directives(sql string, statements []sqlscan.Statement) []Directive {
	var found []Directive
	end := 0
	for n := range len(statements) + 1 {
		next := len(sql)
		if n < len(statements) {
			next = statements[n].Start
		}
		for l := (sqlscan.Lexer{SQL: sql[end:next]}); l.Next(); {
			if l.Kind != sqlscan.Comment {
				continue
			}
			d := Directive{Offset: end + l.Start, Statement: n + 1}
			if match := directive.FindStringSubmatch(l.Text()); match != nil {
				d.Name, d.Text = match[1], match[2]
			} else if match := almostDirective.FindStringSubmatch(l.Text()); match != nil {
				d.Name = match[1]
			} else {
				continue
			}
			found = append(found, d)
		}
		if n < len(statements) {
			end = statements[n].End
		}
	}
	return found
}

// Requires reports whether the directive requires the backfill that its text names.
func (d Directive) Requires() bool {
	return d.Name == requiresBackfill && gate.Name.MatchString(d.Text)
}

// problem returns what is wrong with a directive, if anything is.
func (d Directive) problem(statements []sqlscan.Statement) (detail, hint string, warning bool) {
	switch {
	case strings.HasPrefix(strings.ToLower(d.Name), "require") && !d.Requires():
		return "the comment is nearly one that requires a backfill, so nothing would wait for it",
			"write -- pgmigrate:requires-backfill NAME", false
	case !slices.Contains(knownDirectives, d.Name):
		return "the directive pgmigrate:" + d.Name + " is unknown",
			"known are " + strings.Join(knownDirectives, ", "), true
	case d.Name != "check":
		return "", "", false
	case d.Text == "":
		return "the check has no message", "write -- pgmigrate:check and what is wrong if the query finds rows", false
	case d.Statement > len(statements) ||
		!slices.Contains([]string{"select", "with", "values", "table"}, statements[d.Statement-1].Word(0)):
		return "the check has no query", "write a SELECT below it", false
	default:
		return "", "", false
	}
}
