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
		where = "at one row, the next after last_key in the row of the table backfill_range that has the error"
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
	failure := &BatchError{Name: w.backfill.Name, Err: err}
	if w.claimed != nil {
		failure.Rows = max(1, w.claimed.size)
	}
	fate, size := w.judge(err, failure.Rows)
	failed, noteErr := w.note(ctx, causeText(err), fate, size)
	if noteErr != nil && pgerr.Of(noteErr) != pgerr.LockTimeout {
		return fmt.Errorf("backfill %s: %w; recording it: %w", w.backfill.Name, err, noteErr)
	}
	switch {
	case fate == tryAgain:
		w.log.Warn("a batch failed, trying again", "reason", causeText(err))
		return w.pause(ctx)
	case fate == failForGood && failed:
		return failure
	}
	return nil // the next step sees what a person has done meanwhile
}

// judge decides what follows from an error of a batch of some rows, or of the end with none, and
// how large the next batch is.
func (w *worker) judge(err error, rows int) (fate, int) {
	switch pgerr.Of(err) {
	case pgerr.LockTimeout, pgerr.Deadlock, pgerr.Serialization, pgerr.Canceled:
		return tryAgain, rows / 2
	case pgerr.Timeout:
		const most = 3
		if rows == 1 {
			w.single++
		}
		if rows > 0 && w.single < most {
			return tryAgain, rows / 2
		}
	case pgerr.Data, pgerr.Constraint, pgerr.Raised:
		if rows > 1 {
			return trySmaller, rows / 8
		}
	default:
	}
	return failForGood, rows
}

// note records a failure in its range, or in the backfill's row if it is one of the end or for
// good. It reports whether the state is failed now: a person may have paused or canceled the
// backfill meanwhile, and that stays.
func (w *worker) note(ctx context.Context, text string, what fate, size int) (failed bool, err error) {
	if g := w.claimed; g != nil {
		// The worker may have brought its own size: it is smaller from now on too.
		w.at = *g
		w.at.size = max(1, size)
		_, err := w.conn.Exec(ctx, "update "+w.rangeTable()+" set attempts = attempts + 1, error = $4, batch_size = "+
			"$5, updated_at = clock_timestamp() where version_table = $1 and name = $2 and number = $3",
			pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, g.number, text, w.at.size)
		if err != nil || what != failForGood {
			return false, err
		}
	}
	state := StateStarted
	if what == failForGood {
		state = StateFailed
	}
	tag, err := w.conn.Exec(ctx, "update "+w.table()+" set error = $3, state = $4, updated_at = clock_timestamp() "+
		"where version_table = $1 and name = $2 and state = $5", pgx.QueryExecModeExec, w.opts.VersionTable,
		w.backfill.Name, text, string(state), string(StateStarted))
	return err == nil && tag.RowsAffected() > 0 && state == StateFailed, err
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
