package pgmigrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// errTaken says that another instance works on the section that this one has begun.
var errTaken = errors.New("another instance has taken this section over: this session had lost the migration lock")

// runStatements runs a step without a transaction, statement by statement. Before each, the history
// notes it over a connection of its own: a note depends neither on the role that the section has
// set nor on a transaction that it has open.
func (r *run) runStatements(ctx context.Context, s *step) error {
	if err := r.retry(ctx, func(ctx context.Context) error { return r.runChecks(ctx, s) }); err != nil {
		return err
	}
	notes, err := r.m.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close(ctx, notes)
	if err := r.begun(ctx, notes, s); err != nil {
		return err
	}
	s.repeatable = true // nothing has run that the history does not know
	if err := r.replaySettings(ctx, s); err != nil {
		return err
	}
	lines := lineCounter{text: s.sql(), line: s.migration.firstLine(s.direction)}
	for n := s.resume; n <= len(s.statements); n++ {
		if s.isCheck(n) {
			continue
		}
		r.beginStatement(s, n, lines.at(s.statements[n-1].Start))
		if err := r.runStatement(ctx, notes, s); err != nil {
			return err
		}
	}
	if status := r.conn.PgConn().TxStatus(); status != 'I' {
		return errors.New("the section has left a transaction open")
	}
	// From here on the section only lacks its record.
	s.current = len(s.statements) + 1
	if err := r.note(ctx, notes, s, statementClass{idempotent: true}, ""); err != nil {
		return err
	}
	s.current, s.repeatable = 0, true
	if err := exec(ctx, r.conn.PgConn(), strings.Join(resetSettings(r.conn), "; ")); err != nil {
		return fmt.Errorf("reset the session: %w", err)
	}
	return r.retry(ctx, func(ctx context.Context) error { return r.recordStatements(ctx, s) })
}

// recordStatements records the version of a section whose statements are all done.
func (r *run) recordStatements(ctx context.Context, s *step) error {
	conn := r.conn.PgConn()
	if err := r.lockVersion(ctx, conn, s.source()); err != nil {
		if errors.Is(err, errMoved) {
			err = errTaken
		}
		return r.rollback(ctx, err)
	}
	duration := float64(time.Since(s.started).Microseconds()) / 1000
	err := exec(ctx, conn, updateVersion(r.m.settings.versionTable, s)+fmt.Sprintf(
		"; update %s.history set progress = %s, statement = %d, line = %d, duration_ms = %f where %s; commit",
		r.m.settings.historySchema, literal(string(ProgressDone)), len(s.statements), s.line,
		duration,
		r.m.settings.entryKey(s.entry)))
	if err != nil {
		return r.rollback(ctx, fmt.Errorf("record %s in the history: %w", s.migration.Name, err))
	}
	return nil
}

// runStatement runs the current statement, again and again while others hold locks that it needs.
func (r *run) runStatement(ctx context.Context, notes *pgx.Conn, s *step) error {
	conn := r.conn.PgConn()
	if conn.TxStatus() != 'I' {
		return r.runInOwnTransaction(ctx, s)
	}
	h, err := readHolder(ctx, notes)
	if err == nil && (h == nil || h.pid != conn.PID()) {
		err = r.lockAgain(ctx)
	}
	if err != nil {
		return err
	}
	class := classify(s.statement(s.current))
	index, err := class.prepare(ctx, r)
	if err != nil {
		return err
	}
	if err := r.note(ctx, notes, s, class, index); err != nil {
		return err
	}
	s.repeatable = true // nothing of it has run
	unlimited, err := r.withoutLockTimeout(ctx, class)
	if err != nil {
		return err
	}
	stop := r.watchBuild(ctx, s)
	if class.atomic {
		again := false
		err = r.retry(ctx, func(ctx context.Context) error {
			if again {
				s.tries++
			}
			again = true
			return exec(ctx, conn, s.statement(s.current))
		})
	} else {
		err = exec(ctx, conn, s.statement(s.current))
	}
	stop()
	s.repeatable = class.idempotent || err != nil && (class.atomic || class.builds())
	if unlimited && !conn.IsClosed() {
		limit := r.m.settings.lockTimeout.Milliseconds()
		err = errors.Join(err, exec(ctx, conn, fmt.Sprintf("set lock_timeout = %d", limit)))
	}
	if err == nil && index != "" && class.builds() {
		if err = r.checkValid(ctx, index); err != nil {
			s.repeatable = true // the invalid index is dropped before
		}
	}
	return err
}

// runInOwnTransaction runs a statement inside a transaction that the section has opened. If it
// fails, the section goes on from the BEGIN, which is the statement that the history names.
func (r *run) runInOwnTransaction(ctx context.Context, s *step) error {
	conn := r.conn.PgConn()
	err := exec(ctx, conn, s.statement(s.current))
	if err != nil && !conn.IsClosed() && (conn.TxStatus() == 'I' || exec(ctx, conn, "rollback") == nil) {
		s.repeatable = true
	}
	return err
}

// withoutLockTimeout switches lock_timeout off for a statement that must not give up, because it
// would leave something behind, such as an invalid index. A limit of the section's own stays.
func (r *run) withoutLockTimeout(ctx context.Context, class statementClass) (changed bool, err error) {
	if class.atomic && !class.concurrent || r.m.settings.lockTimeout == 0 {
		return false, nil
	}
	tag, err := r.conn.Exec(ctx, "select set_config('lock_timeout', '0', false) from pg_catalog.pg_settings "+
		"where name = 'lock_timeout' and setting = $1", pgx.QueryExecModeExec,
		fmt.Sprint(r.m.settings.lockTimeout.Milliseconds()))
	if err != nil {
		return false, fmt.Errorf("switch lock_timeout off: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// lockAgain takes the migration lock that the section has released, if nobody else has it.
func (r *run) lockAgain(ctx context.Context) error {
	var ok bool
	err := r.conn.QueryRow(ctx, "select pg_catalog.pg_try_advisory_lock($1)", pgx.QueryExecModeExec,
		migrationLock).Scan(&ok)
	if err == nil && !ok {
		err = errTaken
	}
	return err
}

// note brings the entry up to date before the current statement.
func (r *run) note(ctx context.Context, notes *pgx.Conn, s *step, class statementClass, index string) error {
	var indexName *string
	if index != "" && !class.idempotent {
		indexName = &index
	}
	tag, err := notes.Exec(ctx, "update "+r.m.settings.historySchema+`.history h
set statement = $2, line = $3, repeatable = $4, index_name = $5, drops_index = $6, before = $7, current = $8
where version_table = $1 and id = $9 and progress = 'running'
  and not exists (select from `+r.m.settings.historySchema+`.history n
    where n.version_table = h.version_table and n.id > h.id)`,
		pgx.QueryExecModeExec, r.m.settings.versionTable, s.current, s.line, class.idempotent || index != "",
		indexName, class.drops, s.digest(s.current-1), s.digest(s.current), s.entry)
	switch {
	case err != nil:
		return fmt.Errorf("record statement %d of %s in the history: %w", s.current, s.migration.Name, err)
	case tag.RowsAffected() == 0:
		return errTaken
	}
	return nil
}

// digest identifies the first n statements of the section. n must not be less than in the call
// before: each statement is hashed once.
func (s *step) digest(n int) string {
	if s.hash == nil {
		s.hash = sha256.New()
	}
	for ; s.hashed < min(n, len(s.statements)); s.hashed++ {
		fmt.Fprintf(s.hash, "%s\x00", strings.ReplaceAll(s.statement(s.hashed+1), "\r\n", "\n"))
	}
	return hex.EncodeToString(s.hash.Sum(nil))
}

// What a statement leaves in the session, where a later one may need it.
var leavesState = regexp.MustCompile(`(?i)\b(?:temp|temporary|pg_temp\w*|set_config|prepare|declare|discard|load|` +
	`listen|advisory\w*|pg_(?:try_)?advisory\w*|set\s+(?:(?:local|session)\s+)?(?:search_path|authorization))\b`)

// resumable reports whether the statements before n leave nothing in the session but settings,
// which replaySettings repeats.
func (s *step) resumable(n int) bool {
	for i := 1; i < n; i++ {
		if isSetting(s.statements[i-1]) {
			continue
		}
		if leavesState.MatchString(withoutComments(s.statement(i))) {
			return false
		}
	}
	return true
}

// replaySettings brings the session of a section that is continued to where the interrupted one
// was.
func (r *run) replaySettings(ctx context.Context, s *step) error {
	for n := 1; n < s.resume; n++ {
		if !isSetting(s.statements[n-1]) {
			continue
		}
		s.current = n
		if err := exec(ctx, r.conn.PgConn(), s.statement(n)); err != nil {
			return err
		}
	}
	s.current = 0
	return nil
}

func isSetting(s sqlscan.Statement) bool {
	return len(s.Words) > 0 && (s.Words[0] == "set" || s.Words[0] == "reset")
}
