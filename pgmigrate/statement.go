package pgmigrate

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// statementTracer watches what tern sends, because tern tells neither which statement of a step
// runs nor when the step is committed. It is used by one run, on one goroutine. What its hooks send
// themselves it does not see.
type statementTracer struct {
	step *step // the current one, if any
	hooks
	versionUpdate string // what tern records a version with

	inHook bool
	ends   what  // what the statement that runs is
	err    error // of a hook
}

// hooks are called while the connection is idle. After an error of theirs tern's next statement
// fails without being sent.
type hooks struct {
	statement func(ctx context.Context, sql string) error // before a statement of the step is sent
	ended     func(ctx context.Context, ok bool) error    // the statement came to an end
	// The version was updated, in the migration's transaction if it has one.
	versioned func(ctx context.Context) error
	committed func() // the step is over
}

type what int

const (
	other what = iota
	statementOfStep
	versionUpdate
	commit
)

var _ pgx.QueryTracer = (*statementTracer)(nil)

func (t *statementTracer) TraceQueryStart(
	ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData,
) context.Context {
	s := t.step
	if t.inHook || s == nil {
		return ctx
	}
	t.ends = other
	switch {
	case data.SQL == t.versionUpdate:
		t.ends = versionUpdate
	case s.transactional && s.versioned && data.SQL == "commit":
		t.ends = commit
		return ctx // an error before has aborted the transaction: the server rolls back
	default:
		// tern sends statements in the order of the file and trimmed. What does not come next in
		// the SQL is tern's own.
		at := strings.Index(s.sql[s.next:], data.SQL)
		if at < 0 || t.err != nil { // it is not sent after an error
			break
		}
		s.offset = s.next + at
		s.next = s.offset + len(data.SQL)
		s.statements++
		t.ends = statementOfStep
		t.hook(func() error { return t.statement(ctx, data.SQL) })
	}
	if t.err != nil && data.SQL != "rollback" {
		return vetoed(ctx, t.err)
	}
	return ctx
}

func (t *statementTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if t.inHook || t.step == nil {
		return
	}
	ends := t.ends
	t.ends = other
	switch {
	case ends == other:
	case ends == statementOfStep:
		t.hook(func() error { return t.ended(ctx, data.Err == nil) })
	case data.Err != nil || t.err != nil:
	case ends == versionUpdate:
		t.step.versioned = true
		t.hook(func() error { return t.versioned(ctx) })
		if t.err == nil && !t.step.transactional {
			t.committed()
		}
	case data.CommandTag.String() != "ROLLBACK": // COMMIT of an aborted transaction rolls back without an error
		t.committed()
	}
}

func (t *statementTracer) hook(fn func() error) {
	t.inHook = true
	if err := fn(); err != nil && t.err == nil {
		t.err = err
	}
	t.inHook = false
}

// takeErr returns the first error of a hook and forgets it.
func (t *statementTracer) takeErr() error {
	err := t.err
	t.err = nil
	return err
}

// vetoed returns a context with which pgx does not send the statement. It leaves the connection
// usable.
func vetoed(ctx context.Context, err error) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(err)
	return ctx
}

// step is a migration while it runs.
type step struct {
	migration     *loadedMigration
	direction     Direction
	sql           string // as tern sends it: what records a section in a transaction is behind it
	transactional bool

	offset     int    // where the current statement begins in sql
	next       int    // where the one after it is looked for
	statements int    // how many were sent
	versioned  bool   // tern has updated the version
	failure    string // why the last try failed, if it is to be tried again

	// Of a disable-tx section:
	idempotent bool           // every statement before the current one may run again
	current    statementClass // the current one
	index      string         // that the current one builds or drops, with its schema
	ended      bool           // the current one was a success
	entry      int64          // its number in the history
	stopWatch  func()
}

// repeatable reports whether a disable-tx section that has failed may run again from its start,
// once an invalid index is gone.
func (s *step) repeatable() bool {
	if s.statements == 0 {
		return true
	}
	if s.ended {
		return s.idempotent && s.current.idempotent
	}
	return s.idempotent && (s.current.idempotent || s.current.atomic || s.current.builds())
}

// line returns the line in the file of the byte at offset in the step's SQL, or 0 if rendering
// moved the lines.
func (s *step) line(offset int) int {
	section := s.migration.section(s.direction)
	if section.template {
		return 0
	}
	return section.lineAt(offset)
}

// firstToken returns where the current statement really begins: tern's splitter leaves the comments
// before it in.
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

// errorLine returns the file's line of a PgError.Position in the current statement, counted in
// characters from 1; position 0 means unknown. In a disable-tx section the statement's first line
// is known without it.
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
	if len(s.sql)-len(rest) > len(s.migration.sql(s.direction)) {
		return 0 // in what records the section
	}
	return s.line(len(s.sql) - len(rest))
}
