package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

// BatchError reports the batch, or the end, that failed. The batches before it are done. Unwrap
// gives the cause, mostly a *[pgconn.PgError]; unlike Error, it may hold values of rows.
type BatchError struct {
	Name string
	Rows int // of the batch; 0 for verification and finish
	Err  error
}

func (e *BatchError) Unwrap() error { return e.Err }

func (e *BatchError) Error() string {
	where := "at its end"
	switch {
	case e.Rows == 1:
		where = "at one row, the next after last_key in the table backfill"
	case e.Rows > 1:
		where = fmt.Sprintf("at a batch of %d rows", e.Rows)
	}
	return fmt.Sprintf("backfill %s failed %s: %s; the batches before it are done", e.Name, where, causeText(e.Err))
}

// fate is what follows from the failure of a batch.
type fate int

const (
	failForGood fate = iota
	tryAgain         // after a pause
	trySmaller       // at once
)

// failed decides what follows from the failure of a step, and records it. It returns nil if the
// step is to be tried again.
func (w *worker) failed(ctx context.Context, err error) error {
	var state *StateError
	if ctx.Err() != nil || errors.As(err, &state) || w.isLost(err) {
		return err
	}
	size := max(1, w.record.BatchSize)
	fate := failForGood
	switch pgerr.Of(err) {
	case pgerr.LockTimeout, pgerr.Deadlock, pgerr.Serialization, pgerr.Canceled:
		fate = tryAgain
		w.record.BatchSize = max(1, size/2)
	case pgerr.Timeout:
		const most = 3
		if size == 1 {
			w.single++
		}
		if !w.ending && w.single < most {
			fate = tryAgain
		}
		w.record.BatchSize = max(1, size/2)
	case pgerr.Data, pgerr.Constraint, pgerr.Raised:
		if !w.ending && size > 1 {
			fate = trySmaller
			w.record.BatchSize = max(1, size/8)
		}
	default:
	}
	w.record.Attempts++
	w.record.Error = causeText(err)
	newState := StateStarted
	if fate == failForGood {
		newState = StateFailed
	}
	// A person may have paused or canceled it meanwhile: that stays.
	tag, noteErr := w.conn.Exec(ctx, "update "+w.table()+" set attempts = $3, error = $4, batch_size = $5, "+
		"state = $6, updated_at = clock_timestamp() where version_table = $1 and name = $2 and state = $7",
		pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, w.record.Attempts, w.record.Error,
		w.record.BatchSize, string(newState), string(StateStarted))
	if noteErr != nil && pgerr.Of(noteErr) != pgerr.LockTimeout {
		return fmt.Errorf("backfill %s: %w; recording it: %w", w.backfill.Name, err, noteErr)
	}
	switch {
	case fate == trySmaller, noteErr == nil && tag.RowsAffected() == 0:
		return nil
	case fate == tryAgain:
		w.log.Warn("a batch failed, trying again", "reason", w.record.Error, "attempts", w.record.Attempts)
		return w.pause(ctx)
	}
	w.record.State = StateFailed
	failure := &BatchError{Name: w.backfill.Name, Rows: size, Err: err}
	if w.ending {
		failure.Rows = 0
	}
	return failure
}

// What follows in an error of data may be a value of a row, in the quotes of any language.
const beforeValue = ":\"'`«»„“”‚‘’「」『』"

// causeText is the error without values of rows: without detail, and without what a message about
// data quotes.
func causeText(err error) string {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err.Error()
	}
	message := pgErr.Message
	if pgerr.Of(err) == pgerr.Data {
		if at := strings.IndexAny(message, beforeValue); at >= 0 {
			message = strings.TrimSpace(message[:at]) + " …"
		}
	}
	text := message + " (SQLSTATE " + pgErr.Code + ")"
	if pgErr.ConstraintName != "" {
		text += ", constraint " + pgErr.ConstraintName
	}
	return text
}
