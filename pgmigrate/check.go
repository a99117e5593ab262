package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// CheckError is wrapped by the *[MigrationError] of a section whose check has found rows. A check
// is a query below a comment "-- pgmigrate:check MESSAGE". All checks of a section run before its
// first statement, in a read-only transaction: they see the database as it is before the migration.
// tern runs them as plain queries.
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

// readChecks returns the messages of a section's checks by the number of their statement.
func readChecks(sql string, statements []sqlscan.Statement) map[int]string {
	checks := map[int]string{}
	for _, d := range load.Directives(sql, statements) {
		if d.Name == "check" {
			checks[d.Statement] = d.Text
		}
	}
	return checks
}

// runChecks runs the checks of a section, unless it is continued.
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

// runCheck reads the first rows through a cursor, however many there are.
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
			text = strings.Map(func(c rune) rune {
				if unicode.IsControl(c) { // the terminal would obey it
					return ' '
				}
				return c
			}, text)
			if utf8.RuneCountInString(text) > checkValue {
				text = string([]rune(text)[:checkValue]) + "…"
			}
			values = append(values, text)
		}
		e.Rows = append(e.Rows, values)
	}
	return e
}
