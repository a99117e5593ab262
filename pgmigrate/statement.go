package pgmigrate

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// statementTracer watches what tern sends, because tern tells neither which statement of a step runs nor when the step is
// committed. It is used by one run, on one goroutine.
type statementTracer struct {
	step      *step // the current one, if any
	statement func(line int)
	committed func()

	versionUpdate string // what tern records a version with
	ending        bool   // the statement that runs ends the step, if it succeeds
}

var _ pgx.QueryTracer = (*statementTracer)(nil)

func (t *statementTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s := t.step
	if s == nil {
		return ctx
	}
	t.ending = s.transactional && data.SQL == "commit" || !s.transactional && data.SQL == t.versionUpdate
	// tern sends statements in the order of the file and trimmed. What does not come next in the SQL is tern's own.
	at := strings.Index(s.sql[s.next:], data.SQL)
	if at < 0 {
		return ctx
	}
	s.offset = s.next + at
	s.next = s.offset + len(data.SQL)
	s.statements++
	if !s.transactional {
		t.statement(s.line(s.firstToken()))
	}
	return ctx
}

func (t *statementTracer) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if t.step != nil && t.ending && data.Err == nil {
		t.committed()
	}
}

// step is a migration while it runs.
type step struct {
	migration     *loadedMigration
	direction     Direction
	sql           string
	transactional bool

	offset     int    // where the current statement begins in sql
	next       int    // where the one after it is looked for
	statements int    // how many were sent
	failure    string // why the last try failed, if it is to be tried again
}

// line returns the line in the file of the byte at offset in the step's SQL, or 0 if rendering moved the lines.
func (s *step) line(offset int) int {
	section := s.migration.section(s.direction)
	if section.template {
		return 0
	}
	return section.lineAt(offset)
}

// firstToken returns where the current statement really begins: tern's splitter leaves the comments before it in.
func (s *step) firstToken() int {
	rest := s.sql[s.offset:]
	for {
		rest = strings.TrimLeft(rest, whitespace)
		var end string
		switch {
		case strings.HasPrefix(rest, "--"):
			end = "\n"
		case strings.HasPrefix(rest, "/*"):
			end = "*/"
		default:
			return len(s.sql) - len(rest)
		}
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			return s.offset // nothing but a comment
		}
		rest = after
	}
}

// errorLine returns the file's line of a PgError.Position in the current statement, counted in characters from 1; position 0
// means unknown. In a disable-tx section the statement's first line is known without it.
func (s *step) errorLine(position int32) int {
	if position <= 0 {
		if s.transactional || s.statements == 0 {
			return 0
		}
		return s.line(s.firstToken())
	}
	rest := s.sql[s.offset:]
	for range position - 1 {
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	return s.line(len(s.sql) - len(rest))
}
