package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
)

// State says what a failed migration left behind.
type State string

const (
	// StateRolledBack means that the migration ran in a transaction, which was rolled back.
	StateRolledBack State = "rolled back"
	// StatePartlyApplied means that the section has the disable-tx marker. The statements before
	// the failed one stay applied and the version was not recorded. Unless Repeatable, the next run
	// returns a *[DirtyError] until [Migrator.Resolve] is called.
	StatePartlyApplied State = "partly applied"
	// StateUnknown means that the connection was lost. The server rolls back what it had not
	// committed.
	StateUnknown State = "unknown"
)

// MigrationError reports the migration that failed. Unwrap returns the cause, usually a
// *[pgconn.PgError].
type MigrationError struct {
	Version   int32 // the migration's number
	Name      string
	Direction Direction
	Line      int // of the file; 0 if no statement failed, or if a template moves the lines
	Column    int // in characters, from 1; 0 if Line is 0
	State     State
	Database  int32 // the database's version; -1 if it could not be read
	Err       error

	// For StatePartlyApplied:

	Statement      int      // the number of the failed statement in its section, from 1; 0 if none was sent
	InvalidIndexes []string // of the database, as CREATE INDEX CONCURRENTLY leaves them
	Repeatable     bool     // nothing needs repair: the next run continues the section
	ConnectionLost bool     // the next run finds out what became of the last statement
}

func (e *MigrationError) Unwrap() error { return e.Err }

func (e *MigrationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "migrate %s: %s", e.Direction, e.Name)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	b.WriteString(causeText(e.Err))

	at := "the version could not be read"
	if e.Database >= 0 {
		at = fmt.Sprintf("the database is at version %d", e.Database)
	}
	switch {
	case e.State == StateRolledBack:
		fmt.Fprintf(&b, "; the transaction was rolled back, %s", at)
	case e.State == StateUnknown:
		fmt.Fprintf(&b, "; the connection is gone, %s, and the server rolls back what was not committed", at)
	case e.Repeatable && e.Statement == 0:
		fmt.Fprintf(&b, "; it runs without a transaction and failed before its first statement, %s: when the cause "+
			"is gone, run it again", at)
	case e.Repeatable:
		fmt.Fprintf(&b, "; it runs without a transaction and failed at statement %d, %s: when the cause is gone, "+
			"run it again", e.Statement, at)
	case e.ConnectionLost:
		fmt.Fprintf(&b, "; it runs without a transaction, the connection was lost at statement %d, %s: run it "+
			"again, and it continues or says what to repair", e.Statement, at)
	default:
		fmt.Fprintf(&b, "; it runs without a transaction and failed at statement %d, %s: finish it or undo it by "+
			"hand, then resolve version %d as applied or as rolled back", e.Statement, at, e.Version)
	}
	if len(e.InvalidIndexes) > 0 {
		fmt.Fprintf(&b, "; invalid indexes: %s", strings.Join(e.InvalidIndexes, ", "))
	}
	return b.String()
}

// mayHoldPassword matches a statement in which a syntax error may quote a password.
var mayHoldPassword = regexp.MustCompile(`(?is)\b(?:role|user|server|subscription)\b.*\b(?:password|connection)\b`)

// hidePassword replaces the server's message about the syntax of the current statement if it may
// quote a password, such as one without quotes.
func (s *step) hidePassword(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42601" || s.current == 0 || s.current > len(s.statements) ||
		!mayHoldPassword.MatchString(s.statement(s.current)) {
		return err
	}
	hidden := *pgErr
	hidden.Message, hidden.Where, hidden.InternalQuery = "syntax error, perhaps in a password: is it quoted?", "", ""
	return &hidden
}

// lockedRelation matches the server's words for the row that a statement waits for.
var lockedRelation = regexp.MustCompile(`\bwhile \w+ tuple \(\d+,\d+\) in relation ("[^"]+")`)

// causeText adds the server's hint to its message. It leaves the detail out, which quotes rows.
func causeText(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err.Error()
	}
	text := pgErr.Message + " (SQLSTATE " + pgErr.Code + ")"
	if match := lockedRelation.FindStringSubmatch(pgErr.Where); match != nil && pgErr.Code == "55P03" {
		text += ", for a row of " + match[1]
	}
	if pgErr.Code == "25001" { // active_sql_transaction
		text += ", give it a migration of its own with the line " + load.DisableTx
	}
	if pgErr.Hint != "" {
		text += ", hint: " + pgErr.Hint
	}
	// The error of the last try, and the end of the context that allowed no other.
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		text += ", tried again until the context ended"
	}
	return text
}
