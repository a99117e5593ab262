package pgmigrate

import (
	"context"
	"errors"
	"hash"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// step is one section of a migration while it runs.
type step struct {
	migration     *Migration
	direction     Direction
	transactional bool
	statements    []sqlscan.Statement
	checks        map[int]string // the messages of its checks, by the number of their statement
	started       time.Time
	tries         int

	current int  // the number of the statement that runs, from 1; 0 if none does
	line    int  // where the statement that was sent last begins in the file; 0 if unknown
	sent    bool // a statement was sent: there may be something to repair
	clean   bool // the session was reset after it

	// Of a section without a transaction:
	resume     int   // the number of the first statement to run, from 1
	entry      int64 // its number in the history
	repeatable bool  // after a failure: the current statement may run again
	hash       hash.Hash
	hashed     int // how many statements are in hash
}

func (r *run) newStep(id stepID, resume int) *step {
	mig := r.m.folder.migration(id.version)
	s := &step{
		migration: mig, direction: id.direction, transactional: mig.Transactional(id.direction),
		started: time.Now(), resume: max(resume, 1),
	}
	s.statements, _ = sqlscan.Split(s.sql())
	s.checks = readChecks(s.sql(), s.statements)
	return s
}

func (s *step) sql() string { return s.migration.sql(s.direction) }

// statement returns the text of statement n, counted from 1.
func (s *step) statement(n int) string {
	return s.sql()[s.statements[n-1].Start:s.statements[n-1].End]
}

func (s *step) isCheck(n int) bool {
	_, ok := s.checks[n]
	return ok
}

// target is the version after the step.
func (s *step) target() int32 {
	if s.direction == DirectionDown {
		return s.migration.Version - 1
	}
	return s.migration.Version
}

// source is the version before the step.
func (s *step) source() int32 {
	if s.direction == DirectionDown {
		return s.migration.Version
	}
	return s.migration.Version - 1
}

// place returns the file's line and column of an error in the current statement: the server's
// position, which counts characters from 1, or else the statement's beginning.
func (s *step) place(err error) (line, column int) {
	lines := s.migration.lines(s.direction)
	if s.current == 0 || s.current > len(s.statements) || lines.Line == 0 {
		return 0, 0
	}
	at := s.statements[s.current-1].Start
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Position > 0 {
		for range pgErr.Position - 1 {
			_, size := utf8.DecodeRuneInString(s.sql()[at:])
			at += size
		}
	}
	line, column = lines.At(at), 1
	for i := at; i > 0 && s.sql()[i-1] != '\n'; {
		_, size := utf8.DecodeLastRuneInString(s.sql()[:i])
		i -= size
		column++
	}
	return line, column
}

func (s *step) event(kind EventKind) Event {
	return Event{Kind: kind, Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction}
}

// beginStatement notes that statement n, which begins at line, is about to run.
func (r *run) beginStatement(s *step, n, line int) {
	s.current, s.line, s.sent = n, line, true
	e := s.event(EventStatement)
	e.Line, e.Statement, e.Statements, e.InTransaction = line, n, len(s.statements), s.transactional
	r.m.settings.event(e)
}

// done notes a step as completed.
func (r *run) done(s *step) {
	r.step = nil
	r.version = s.target()
	done := Step{
		Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
		Duration: time.Since(s.started), Tries: s.tries,
	}
	r.result.Steps = append(r.result.Steps, done)
	r.result.To = r.version
	r.m.settings.logger.Info("migrated "+string(done.Direction), "migration", done.Name, "duration", done.Duration)
	e := s.event(EventDone)
	e.Duration = done.Duration
	r.m.settings.event(e)
}

// exec runs statements by the simple protocol and ignores their rows.
func exec(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	return conn.Exec(ctx, sql).Close()
}
