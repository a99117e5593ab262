package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// errMoved says that another instance has changed the version since it was read. Nothing was done.
var errMoved = errors.New("another instance has migrated in the meantime")

// runInTransaction runs a step in a transaction of its own: two round trips whatever the number of
// its statements, and a few for each check.
//
// The row lock on the version keeps others out even if the section has released the session lock.
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
	// Null, which the history does not take, if the section has changed the version.
	version := fmt.Sprintf("(select %d from %s where version = %d limit 1)", s.migration.Version,
		r.m.settings.versionTable, s.target())
	records := append(resetSettings(r.conn), updateVersion(r.m.settings.versionTable, s),
		r.entrySQL(&s.migration.Migration, version, Action(s.direction), ProgressDone,
			"1000 * extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.now())"), "commit")
	// The rest of the reset travels with the COMMIT. If it fails, resetSession runs it again and
	// says so.
	results, err := conn.Exec(ctx, strings.Join(append(records, discardSQL), "; ")).ReadAll()
	if len(results) < len(records) || results[len(records)-1].Err != nil {
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "23502" && pgErr.ColumnName == "version" &&
			pgErr.SchemaName == r.m.settings.historySchema {
			err = fmt.Errorf("the section has changed the version in %s itself", r.m.settings.versionTable)
		}
		return r.rollback(ctx, err)
	}
	r.lastEntry++
	if err == nil {
		ours, others, lockErr := readLocks(results[len(results)-1].Rows)
		s.clean = ours && others == "" && lockErr == nil
	}
	return nil
}

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

// rollback ends the transaction, if there is still one, and returns err.
func (r *run) rollback(ctx context.Context, err error) error {
	conn := r.conn.PgConn()
	if !conn.IsClosed() && conn.TxStatus() != 'I' {
		_ = exec(ctx, conn, "rollback") // if it fails, the connection is gone, and the server rolls back
	}
	return err
}

// sendSection sends statements of ours, first, and those of the section, each by itself, without
// waiting for the answers in between. If the last of ours is a SELECT that finds nothing, another
// instance has moved the version: that is known only after the statements were sent.
func (r *run) sendSection(ctx context.Context, s *step, first ...string) error {
	pipeline := r.conn.PgConn().StartPipeline(ctx)
	// Close waits for the rest after an error.
	const most = 256 // of statements between two flushes
	lines := lineCounter{text: s.sql(), line: s.migration.firstLine(s.direction)}
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
		if (n+1)%most == 0 && err == nil {
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
	if err == nil && tag.Select() && tag.RowsAffected() == 0 {
		err = errMoved
	}
	for n := range s.statements {
		if err != nil {
			break
		}
		if s.isCheck(n + 1) {
			continue
		}
		r.beginStatement(s, n+1, lines.at(s.statements[n].Start))
		_, err = nextTag(pipeline)
	}
	// It waits until the connection is ready again.
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
