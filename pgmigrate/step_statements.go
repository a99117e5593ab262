package pgmigrate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgmigrate/internal/index"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// errTaken says that another instance works on the section that this one has begun.
var errTaken = errors.New("another instance has taken this section over: this session had lost the migration lock")

// runStatements runs a step without a transaction, statement by statement. Before each, the history
// notes it over its own connection: a note must depend neither on the role that the section has set
// nor on a transaction that it has open.
func (r *run) runStatements(ctx context.Context, s *step) error {
	if err := r.retry(ctx, func(ctx context.Context) error { return r.runChecks(ctx, s) }); err != nil {
		return err
	}
	notes, err := r.m.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close(ctx, notes)
	defer session.Unlock(ctx, notes)
	if err := r.enterRunning(ctx, notes, s); err != nil {
		return err
	}
	s.repeatable = true // the history knows all that has run
	if err := r.replaySettings(ctx, s); err != nil {
		return err
	}
	lines := s.migration.lines(s.direction)
	for n := s.resume; n <= len(s.statements); n++ {
		if s.isCheck(n) {
			continue
		}
		r.beginStatement(s, n, lines.At(s.statements[n-1].Start))
		if err := r.runStatement(ctx, notes, s); err != nil {
			return err
		}
	}
	if status := r.conn.PgConn().TxStatus(); status != 'I' {
		return errors.New("the section has left a transaction open")
	}
	// From here on the section only lacks its record.
	s.current = len(s.statements) + 1
	if err := r.note(ctx, notes, s, sqlscan.Class{Idempotent: true}, ""); err != nil {
		return err
	}
	s.current, s.repeatable = 0, true
	if err := exec(ctx, r.conn.PgConn(), strings.Join(session.ResetSettings(r.conn), "; ")); err != nil {
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
	err := exec(ctx, conn, updateVersion(r.m.settings.versionTable, s)+fmt.Sprintf(
		"; update %s.history set progress = %s, statement = %d, line = %d, duration_ms = %f where %s; commit",
		r.m.settings.historySchema, literal(string(ProgressDone)), len(s.statements), s.line,
		float64(time.Since(s.started).Microseconds())/1000, r.m.settings.entryKey(s.entry)))
	if err != nil {
		return r.rollback(ctx, fmt.Errorf("record %s in the history: %w", s.migration.Name, err))
	}
	return nil
}

// runStatement runs the current statement, again if others hold locks that it needs.
func (r *run) runStatement(ctx context.Context, notes *pgx.Conn, s *step) error {
	conn := r.conn.PgConn()
	sql := s.statement(s.current)
	if conn.TxStatus() != 'I' {
		return r.runInOwnTransaction(ctx, s)
	}
	if err := r.keepLock(ctx); err != nil {
		return err
	}
	class := sqlscan.Classify(sql)
	name, err := r.prepareIndex(ctx, class)
	if err != nil {
		return err
	}
	if err := r.note(ctx, notes, s, class, name); err != nil {
		return err
	}
	s.repeatable = true // nothing of it has run
	unlimited, err := r.withoutLockTimeout(ctx, class)
	if err != nil {
		return err
	}
	stop := r.watchBuild(ctx, s)
	tries := 0
	attempt := func(ctx context.Context) error {
		if tries++; tries > 1 {
			s.tries++
			if _, err := r.prepareIndex(ctx, class); err != nil {
				return err
			}
		}
		return exec(ctx, conn, sql)
	}
	// A build may lose a deadlock against another on the same table, and leaves an invalid index.
	if class.Atomic || class.Builds() {
		err = r.retry(ctx, attempt)
	} else {
		err = attempt(ctx)
	}
	stop()
	s.repeatable = class.Idempotent || err != nil && (class.Atomic || class.Builds())
	if unlimited && !conn.IsClosed() {
		limit := r.m.settings.lockTimeout.Milliseconds()
		err = errors.Join(err, exec(ctx, conn, fmt.Sprintf("set lock_timeout = %d", limit)))
	}
	if err == nil && name != "" && class.Builds() {
		if err = r.checkValid(ctx, name); err != nil {
			s.repeatable = true // the next run drops the invalid index first
		}
	}
	return err
}

// runInOwnTransaction runs a statement inside a transaction that the section has opened. If it
// fails, the section continues from the BEGIN, which is the statement that the history names.
func (r *run) runInOwnTransaction(ctx context.Context, s *step) error {
	conn := r.conn.PgConn()
	err := exec(ctx, conn, s.statement(s.current))
	if err != nil && !conn.IsClosed() && (conn.TxStatus() == 'I' || exec(ctx, conn, "rollback") == nil) {
		s.repeatable = true
	}
	return err
}

// withoutLockTimeout turns lock_timeout off for a statement that must not give up, because it would
// leave something behind, such as an invalid index. The section's own limit stays.
func (r *run) withoutLockTimeout(ctx context.Context, class sqlscan.Class) (changed bool, err error) {
	if !class.Patient || r.m.settings.lockTimeout == 0 {
		return false, nil
	}
	tag, err := r.conn.Exec(ctx, "select set_config('lock_timeout', '0', false) from pg_catalog.pg_settings "+
		"where name = 'lock_timeout' and setting = $1", pgx.QueryExecModeExec,
		fmt.Sprint(r.m.settings.lockTimeout.Milliseconds()))
	if err != nil {
		return false, fmt.Errorf("turn lock_timeout off: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// keepLockSQL takes the migration lock again, in case the section has released it. The server
// counts how often a session has taken a lock; the end of the run releases all.
var keepLockSQL = fmt.Sprintf("select pg_catalog.pg_try_advisory_lock(%d)", migrationLock)

func (r *run) keepLock(ctx context.Context) error {
	var ok bool
	err := r.conn.QueryRow(ctx, keepLockSQL, pgx.QueryExecModeExec).Scan(&ok)
	if err == nil && !ok {
		err = errTaken
	}
	return err
}

// note brings the entry up to date before the current statement. index is the one that the
// statement builds or drops.
func (r *run) note(ctx context.Context, notes *pgx.Conn, s *step, class sqlscan.Class, index string) error {
	var indexName *string
	if index != "" && !class.Idempotent {
		indexName = &index
	}
	tag, err := notes.Exec(ctx, "update "+r.m.settings.historySchema+`.history h
set statement = $2, line = $3, repeatable = $4, index_name = $5, drops_index = $6, before = $7, current = $8
where version_table = $1 and id = $9 and progress = 'running'
  and not exists (select from `+r.m.settings.historySchema+`.history n
    where n.version_table = h.version_table and n.id > h.id)`,
		pgx.QueryExecModeExec, r.m.settings.versionTable, s.current, s.line, class.Idempotent || index != "",
		indexName, class.Drops, s.digest(s.current-1), s.digest(s.current), s.entry)
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

// leavesState matches what leaves something in the session that a later statement may need.
var leavesState = regexp.MustCompile(`(?i)\b(?:temp|temporary|pg_temp\w*|set_config|prepare|declare|discard|load|` +
	`listen|advisory\w*|pg_(?:try_)?advisory\w*|set\s+(?:(?:local|session)\s+)?(?:search_path|authorization))\b`)

// resumable reports whether the statements before n leave only settings in the session, which
// replaySettings repeats.
func (s *step) resumable(n int) bool {
	for i := 1; i < n; i++ {
		if !s.statements[i-1].IsSetting() && leavesState.MatchString(sqlscan.WithoutComments(s.statement(i))) {
			return false
		}
	}
	return true
}

// replaySettings repeats the settings that an interrupted run had made in its session.
func (r *run) replaySettings(ctx context.Context, s *step) error {
	for n := 1; n < s.resume; n++ {
		if !s.statements[n-1].IsSetting() {
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

// prepareIndex returns the qualified name of the index that the statement builds or drops, if it
// has one. It drops an invalid index of that name before a build: CREATE INDEX would stumble over
// it, and with IF NOT EXISTS accept it, although it is never used and costs every write.
func (r *run) prepareIndex(ctx context.Context, class sqlscan.Class) (name string, err error) {
	if class.Index != "" || class.Table != "" {
		err = r.waitForBuild(ctx, cmp.Or(class.Table, class.Index))
	}
	if err != nil || class.Index == "" {
		return "", err
	}
	name, err = index.QualifiedName(ctx, r.conn, class)
	if err != nil || name == "" || !class.Builds() {
		return name, err
	}
	state, err := index.Read(ctx, r.conn, name)
	if err != nil || state != index.Invalid {
		return name, err
	}
	r.m.settings.logger.Warn("dropping the invalid index that an interrupted build has left behind", "index", name)
	if _, err := r.conn.Exec(ctx, "drop index concurrently if exists "+name); err != nil {
		return name, fmt.Errorf("drop invalid index %s: %w", name, err)
	}
	return name, nil
}

// waitForBuild waits, without a snapshot, until no other session builds an index on the table. A
// build that waits inside its statement holds a snapshot, for which the other build waits: one of
// them would lose the deadlock and leave an invalid index.
func (r *run) waitForBuild(ctx context.Context, relation string) error {
	waiting := false
	backoff := retry.WithJitterPercent(50, retry.NewConstant(lockPoll))
	return retry.Do(ctx, backoff, func(ctx context.Context) error {
		busy, err := index.IsBusy(ctx, r.conn, relation)
		if err != nil || !busy {
			return err
		}
		if !waiting {
			waiting = true
			r.m.settings.logger.Info("waiting: another session builds an index on the table", "relation", relation)
		}
		return retry.RetryableError(fmt.Errorf("another session builds an index on the table of %s", relation))
	})
}

// checkValid looks at an index after a successful build. With IF NOT EXISTS the server also reports
// success if it found another session's build that is not ready, or has failed.
func (r *run) checkValid(ctx context.Context, name string) error {
	state, err := index.Read(ctx, r.conn, name)
	if err != nil || state == index.Valid {
		return err
	}
	if state == index.Building {
		return fmt.Errorf("index %s is being built by another session: run again when it is ready", name)
	}
	return fmt.Errorf("index %s is not valid after its build", name)
}
