package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// CheckError is wrapped by the *[MigrationError] of a section whose check has found rows. A check
// is a query below a comment "-- pgmigrate:check MESSAGE". All checks of a section run before its
// first statement, in a read-only transaction, and not where they stand: they see the database as
// it is before the migration. tern runs them as plain queries.
type CheckError struct {
	Message string     // from the comment
	Columns []string   // of the query
	Rows    [][]string // the first three, as the server writes them; values are cut after 100 characters
	More    bool       // there are others
}

func (e *CheckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the check %q has found rows: ", e.Message)
	for i, row := range e.Rows {
		if i > 0 {
			b.WriteString("; ")
		}
		for c, value := range row {
			if c > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s = %s", e.Columns[c], value)
		}
	}
	if e.More {
		b.WriteString("; and more")
	}
	return b.String()
}

const (
	checkRows  = 3
	checkValue = 100 // characters
)

// directive is a comment that tells this package something about the statement below it, or is
// nearly one.
var (
	directive       = regexp.MustCompile(`\A--+[ \t]*pgmigrate:([^\s]+)[ \t]*(.*?)[ \t\r]*\z`)
	almostDirective = regexp.MustCompile(`(?i)\A(?:--|/\*)\W*pg[-_]?migrate\s*:\s*(requires?\b)`)
)

// directives are the names that this package and pgmigrate-dev know.
var directives = []string{"allow", "check", requiresBackfill}

// comment is a directive and the number of the statement below it.
type comment struct {
	name, text string
	offset     int
	statement  int // from 1; one more than there are if none follows
}

// findDirectives returns the directives between the statements of sql.
func findDirectives(sql string, statements []sqlscan.Statement) []comment {
	var found []comment
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
			if match := directive.FindStringSubmatch(l.Text()); match != nil {
				found = append(found, comment{match[1], match[2], end + l.Start, n + 1})
			} else if match := almostDirective.FindStringSubmatch(l.Text()); match != nil {
				found = append(found, comment{name: match[1], offset: end + l.Start, statement: n + 1})
			}
		}
		if n < len(statements) {
			end = statements[n].End
		}
	}
	return found
}

// problem returns what is wrong with a directive, if anything is.
func (c comment) problem(statements []sqlscan.Statement) (detail, hint string, warning bool) {
	switch {
	case strings.HasPrefix(strings.ToLower(c.name), "require") && !c.requires():
		return "the comment is nearly one that requires a backfill, so nothing would wait for it",
			"write -- pgmigrate:requires-backfill NAME", false
	case !slices.Contains(directives, c.name):
		return "the directive pgmigrate:" + c.name + " is unknown", "known are " + strings.Join(directives, ", "), true
	case c.name != "check":
		return "", "", false
	case c.text == "":
		return "the check has no message", "write -- pgmigrate:check and what is wrong if the query finds rows", false
	case c.statement > len(statements) ||
		!slices.Contains([]string{"select", "with", "values", "table"}, firstWord(statements[c.statement-1])):
		return "the check has no query", "write a SELECT below it", false
	default:
		return "", "", false
	}
}

func firstWord(s sqlscan.Statement) string {
	if len(s.Words) == 0 {
		return ""
	}
	return s.Words[0]
}

// readChecks returns the messages of a section's checks by the number of their statement.
func readChecks(sql string, statements []sqlscan.Statement) map[int]string {
	checks := map[int]string{}
	for _, c := range findDirectives(sql, statements) {
		if c.name == "check" {
			checks[c.statement] = c.text
		}
	}
	return checks
}

// runChecks runs the checks of a section that begins.
func (r *run) runChecks(ctx context.Context, s *step) error {
	if len(s.checks) == 0 || s.resume > 1 {
		return nil
	}
	if err := exec(ctx, r.conn.PgConn(), "begin read only"); err != nil {
		return err
	}
	for n := range s.statements {
		if message, ok := s.checks[n+1]; ok {
			s.current = n + 1
			if err := r.runCheck(ctx, s.statement(n+1), message); err != nil {
				return r.rollback(ctx, err)
			}
		}
	}
	s.current = 0
	return exec(ctx, r.conn.PgConn(), "rollback")
}

// runCheck reads the first rows through a cursor, whatever their number.
func (r *run) runCheck(ctx context.Context, sql, message string) error {
	const declare = "declare pgmigrate_check no scroll cursor for "
	conn := r.conn.PgConn()
	err := exec(ctx, conn, declare+sql)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && int(pgErr.Position) > len(declare) {
		moved := *pgErr
		moved.Position -= int32(len(declare))
		return &moved
	}
	if err != nil {
		return err
	}
	results, err := conn.Exec(ctx, fmt.Sprintf("fetch %d from pgmigrate_check; close pgmigrate_check",
		checkRows+1)).ReadAll()
	if err != nil || len(results[0].Rows) == 0 {
		return err
	}
	e := &CheckError{Message: message, More: len(results[0].Rows) > checkRows}
	for _, f := range results[0].FieldDescriptions {
		e.Columns = append(e.Columns, f.Name)
	}
	for _, row := range results[0].Rows[:min(len(results[0].Rows), checkRows)] {
		var values []string
		for _, value := range row {
			text := string(value)
			if value == nil {
				text = "null"
			}
			if utf8.RuneCountInString(text) > checkValue {
				text = string([]rune(text)[:checkValue]) + "…"
			}
			values = append(values, text)
		}
		e.Rows = append(e.Rows, values)
	}
	return e
}
