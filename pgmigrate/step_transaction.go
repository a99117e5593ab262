package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// errMoved says that another instance has changed the version since it was read. Nothing was done.
var errMoved = errors.New("another instance has migrated in the meantime")

// runInTransaction runs a step in its own transaction: two round trips for any number of
// statements, and a few for each check. The version is written first: its row lock keeps others out
// even if the section releases the session lock.
func (r *run) runInTransaction(ctx context.Context, s *step) error {
	conn := r.conn.PgConn()
	if err := r.runChecks(ctx, s); err != nil {
		return err
	}
	stop := r.watchBuild(ctx, s)
	err := r.sendSection(ctx, s, "begin", fmt.Sprintf("select from %s where version = %d for update",
		r.m.settings.versionTable, s.source()))
	stop()
	if err != nil {
		return r.rollback(ctx, err)
	}
	if conn.TxStatus() != 'T' {
		return errors.New("the section has ended the migration's own transaction")
	}
	s.current = 0
	if err := restoreEncoding(ctx, conn); err != nil {
		return r.rollback(ctx, err)
	}
	// One statement is cheaper than two. The entry's version is null, which the history refuses, if
	// the section itself has changed the version.
	entry := "with moved as (" + updateVersion(r.m.settings.versionTable, s) + " returning 1) " +
		r.entrySQL(s.migration, fmt.Sprintf("(select %d from moved limit 1)", s.migration.Version),
			Action(s.direction), ProgressDone,
			"1000 * extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.now())")
	records := append(session.ResetSettings(r.conn), entry, "commit")
	// The rest of the reset travels with the COMMIT, and a function may have released the migration
	// lock. If that fails, resetSession repeats it and reports the error.
	results, err := conn.Exec(ctx, strings.Join(append(records, session.DiscardSQL, keepLockSQL), "; ")).ReadAll()
	if len(results) < len(records) || results[len(records)-1].Err != nil {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "23502" && pgErr.ColumnName == "version" &&
			pgErr.SchemaName == r.m.settings.historySchema {
			err = fmt.Errorf("the section has changed the version in %s itself", r.m.settings.versionTable)
		}
		return r.rollback(ctx, err)
	}
	r.lastEntry++
	// To list the locks takes longer than the rest of the record.
	s.clean = err == nil && string(results[len(results)-1].Rows[0][0]) == "t" && !advisory.MatchString(s.sql())
	return nil
}

// advisory matches a section that may leave advisory locks.
var advisory = regexp.MustCompile(`(?i)advisory`)

// lockVersion begins a transaction and locks the version, which must be want.
func (r *run) lockVersion(ctx context.Context, conn *pgconn.PgConn, want int32) error {
	results, err := conn.Exec(ctx, "begin; select version from "+r.m.settings.versionTable+" for update").ReadAll()
	if err != nil {
		return err
	}
	var versions []int32
	for _, row := range results[1].Rows {
		if versions, err = appendVersion(versions, row); err != nil {
			return err
		}
	}
	version, err := oneVersion(versions)
	if err == nil && version != want {
		return errMoved
	}
	return err
}

// rollback ends the transaction, if there is one, and returns err.
func (r *run) rollback(ctx context.Context, err error) error {
	conn := r.conn.PgConn()
	if !conn.IsClosed() && conn.TxStatus() != 'I' {
		_ = exec(ctx, conn, "rollback") // if it fails, the connection is gone, and the server rolls back
	}
	return err
}

// sendSection sends our own statements, first, and each of the section's without waiting for the
// answers in between. If our last one finds no row, another instance has moved the version: that is
// known only after the section was sent, inside a transaction that rolls back.
func (r *run) sendSection(ctx context.Context, s *step, first ...string) error {
	const flushEvery = 256 // statements
	pipeline := r.conn.PgConn().StartPipeline(ctx)
	send := func(sql string) { pipeline.SendQueryParams(sql, nil, nil, nil, nil) }
	for _, sql := range first {
		send(sql)
	}
	var err error
	for n := range s.statements {
		if s.isCheck(n + 1) {
			continue
		}
		send(s.statement(n + 1))
		if r.m.settings.progress != nil {
			pipeline.SendFlushRequest() // the server reports each statement when it is done
		}
		if (n+1)%flushEvery == 0 && err == nil {
			err = pipeline.Flush()
		}
	}
	if err == nil {
		err = pipeline.Sync()
	}
	var tag pgconn.CommandTag
	for range first {
		if err == nil {
			tag, err = nextTag(pipeline)
		}
	}
	if err == nil && len(first) > 0 && tag.RowsAffected() == 0 {
		err = errMoved
	}
	lines := s.migration.lines(s.direction)
	for n := range s.statements {
		if err != nil {
			break
		}
		if s.isCheck(n + 1) {
			continue
		}
		r.beginStatement(s, n+1, lines.At(s.statements[n].Start))
		_, err = nextTag(pipeline)
	}
	// Close waits until the connection is ready again, also after an error.
	if closeErr := pipeline.Close(); err == nil {
		err = closeErr
	}
	return err
}

func nextTag(pipeline *pgconn.Pipeline) (pgconn.CommandTag, error) {
	results, err := pipeline.GetResults()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	reader, ok := results.(*pgconn.ResultReader)
	if !ok {
		return pgconn.CommandTag{}, fmt.Errorf("unexpected %T from the server", results)
	}
	return reader.Close()
}

func updateVersion(table string, s *step) string {
	return "update " + table + " set version = " + strconv.Itoa(int(s.target())) +
		" where version = " + strconv.Itoa(int(s.source()))
}
