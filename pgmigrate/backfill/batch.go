package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// mostRows keeps the memory that a batch takes on the server small.
	mostRows = 100_000

	// aim is the part of the target that a batch aims at, so that most stay below it.
	aim = 0.75
)

// step runs the next batch, or the end if there are no more rows, and commits it with the progress.
// The row of the backfill is locked meanwhile: what the step goes by cannot change.
func (w *worker) step(ctx context.Context) error {
	if w.ending {
		return w.end(ctx)
	}
	var after record
	err := pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		rec, err := w.lockRecord(ctx, tx)
		if err != nil {
			return err
		}
		after = rec
		if _, err := tx.Exec(ctx, "set local statement_timeout = "+milliseconds(w.opts.StatementTimeout)); err != nil {
			return err
		}
		began := time.Now()
		first, last, rows, err := w.page(ctx, rec)
		if err != nil {
			return err
		}
		if rows == 0 {
			w.ending = true
			return nil
		}
		_, err = w.conn.PgConn().ExecParams(ctx, w.backfill.Statement, append(first, last...),
			append(w.source.types[:len(first):len(first)], w.source.types...), nil, nil).Close()
		if err != nil {
			return err
		}
		rec.advance(rows, time.Since(began), w.opts.Target, time.Since(w.advanced))
		key := make([]string, len(last))
		for i := range last {
			key[i] = string(last[i])
		}
		if err := w.write(ctx, tx, rec, "last_key = $9", key); err != nil {
			return err
		}
		after = rec
		return nil
	})
	// A constraint that is checked at the end fails the COMMIT: only now is the batch done.
	if err == nil {
		w.record, w.advanced, w.single = after, time.Now(), 0
	}
	return err
}

// lockRecord locks the backfill's row and returns an error unless the step may go on.
func (w *worker) lockRecord(ctx context.Context, tx pgx.Tx) (record, error) {
	rec, err := w.read(ctx, tx, w.backfill, "for update")
	switch {
	case err != nil:
		return rec, err
	case rec.State == StatePaused:
		return rec, errPaused
	case rec.State != StateStarted || rec.Edited || rec.undone:
		if rec.undone {
			rec.State = StatePending
		}
		return rec, &StateError{Name: w.backfill.Name, State: rec.State, Edited: rec.Edited, Reason: rec.Error}
	}
	return rec, nil
}

// page returns the first and the last key of the next rows, as text, and how many they are.
func (w *worker) page(ctx context.Context, rec record) (first, last [][]byte, rows int64, err error) {
	sql, args, types := w.source.firstPage, [][]byte{fmt.Append(nil, rec.BatchSize)}, []uint32{int8OID}
	if rec.lastKey != nil {
		sql = w.source.nextPage
		for _, value := range rec.lastKey {
			args = append(args, []byte(value))
		}
		types = append(types, w.source.types...)
	}
	result := w.conn.PgConn().ExecParams(ctx, sql, args, types, nil, nil).Read()
	if result.Err != nil || len(result.Rows) == 0 {
		return nil, nil, 0, result.Err
	}
	if _, err := fmt.Sscan(string(result.Rows[0][0]), &rows); err != nil {
		return nil, nil, 0, err
	}
	return result.Rows[0][1:], result.Rows[len(result.Rows)-1][1:], rows, nil
}

const int8OID = 20

// advance counts a batch that took some time, and chooses the size of the next.
func (rec *record) advance(rows int64, took, target, interval time.Duration) {
	rec.Rows += rows
	rec.Total = max(rec.Total, rec.Rows)
	rec.Batches++
	rec.Attempts, rec.Error, rec.Waiting = 0, "", ""
	rate := float64(rows) / max(interval, time.Millisecond).Seconds()
	const weight = 0.1
	if rec.Rate > 0 {
		rate = weight*rate + (1-weight)*rec.Rate
	}
	rec.Rate = rate
	factor := min(2, max(0.25, aim*float64(target)/float64(max(took, time.Microsecond))))
	if rows < int64(rec.BatchSize) {
		factor = min(1, factor) // there were no more: nothing is known about a full batch
	}
	rec.BatchSize = min(mostRows, max(1, int(float64(rec.BatchSize)*factor)))
}

// write records rec and an assignment with one more argument.
func (w *worker) write(ctx context.Context, q querier, rec record, set string, arg any) error {
	_, err := q.Exec(ctx, "update "+w.table()+" set rows_done = $3, rows_total = $4, batches = $5, batch_size = $6, "+
		"rate = $7, attempts = $8, error = null, waiting = null, updated_at = clock_timestamp(), "+set+
		" where version_table = $1 and name = $2", pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name,
		rec.Rows, rec.Total, rec.Batches, rec.BatchSize, rec.Rate, rec.Attempts, arg)
	if err != nil {
		return fmt.Errorf("backfill %s: record the progress: %w", w.backfill.Name, err)
	}
	return nil
}

// end verifies, and runs the finish in the transaction that records that the backfill is done.
func (w *worker) end(ctx context.Context) error {
	if w.backfill.Verify != "" {
		wrong, err := w.verify(ctx, w.conn)
		if err != nil {
			return err
		}
		if wrong > 0 {
			return &verifyError{wrong}
		}
	}
	var after record
	err := pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		rec, err := w.lockRecord(ctx, tx)
		if err != nil {
			return err
		}
		if w.backfill.Finish != "" {
			if err := exec(ctx, w.conn, w.backfill.Finish); err != nil {
				return err
			}
		}
		rec.State, rec.Total, rec.EndedAt = StateDone, rec.Rows, time.Now()
		if err := w.write(ctx, tx, rec, "ended_at = clock_timestamp(), state = $9", string(StateDone)); err != nil {
			return err
		}
		after = rec
		return nil
	})
	if err == nil {
		w.record = after
	}
	return err
}

type verifyError struct{ wrong int64 }

func (e *verifyError) Error() string {
	return fmt.Sprintf("the verification found %d wrong rows: were they written behind the backfill, by something "+
		"that does not write both columns?", e.wrong)
}

// Verify runs the backfill's verification and returns the number of wrong rows. It takes as long as
// its query; the statement timeout does not apply.
func (r *Runner) Verify(ctx context.Context, name string) (wrong int64, err error) {
	b, err := r.find(name)
	if err != nil {
		return 0, err
	}
	if b.Verify == "" {
		return 0, fmt.Errorf("backfill %s: the file has no section -- pgmigrate:verify", name)
	}
	w := &worker{Runner: r, backfill: b}
	err = r.with(ctx, func(conn *pgx.Conn) error {
		wrong, err = w.verify(ctx, conn)
		return err
	})
	return wrong, err
}

func (w *worker) verify(ctx context.Context, conn *pgx.Conn) (wrong int64, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		result := conn.PgConn().ExecParams(ctx, w.backfill.Verify, nil, nil, nil, nil).Read()
		if result.Err != nil {
			return result.Err
		}
		if len(result.Rows) != 1 || len(result.Rows[0]) != 1 {
			return errVerify
		}
		if _, err := fmt.Sscan(string(result.Rows[0][0]), &wrong); err != nil {
			return errVerify
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("verify backfill %s: %w", w.backfill.Name, err)
	}
	return wrong, nil
}

var errVerify = errors.New("the query has to return one number, of the rows that are wrong")

func exec(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Close()
	return err
}
