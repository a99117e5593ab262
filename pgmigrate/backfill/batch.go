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

	// leastRows is where a batch gets no smaller only because it is slow: on a busy server its
	// round trips take most of the time. A failure makes it smaller still.
	leastRows = 10

	// aim is the part of the target that a batch aims at, so that most stay below it.
	aim = 0.75
)

// errBusy says that other batches have all ranges that are left, or that another worker is at the
// end.
var errBusy = errors.New("other workers have what is left")

// step runs the next batch of a range and commits it with the range's progress, or goes on to the
// end if no range is left.
func (w *worker) step(ctx context.Context) error {
	var after record
	var at keyRange
	err := pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		w.claimed = nil
		g, err := w.claim(ctx, tx)
		if err != nil {
			return err
		}
		w.claimed = g
		// Only now: see Pause.
		if after, err = w.readStarted(ctx, tx, ""); err != nil || g == nil {
			return err
		}
		began := time.Now()
		if _, err := tx.Exec(ctx, "set local statement_timeout = "+milliseconds(w.opts.StatementTimeout)); err != nil {
			return err
		}
		trip := time.Since(began) // fewer rows do not make it shorter
		first, last, rows, err := w.page(ctx, g)
		if err != nil {
			return err
		}
		at = *g
		if rows == 0 {
			at.done = true
		} else {
			_, err = w.conn.PgConn().ExecParams(ctx, w.backfill.Statement, append(first, last...),
				append(w.source.types[:len(first):len(first)], w.source.types...), nil, nil).Close()
			if err != nil {
				return err
			}
			at.last = texts(last)
			at.advance(rows, time.Since(began)-3*trip, w.opts.Target, time.Since(w.advanced))
		}
		after.add(rows, &at, w.backfill)
		return w.writeRange(ctx, tx, &at)
	})
	switch {
	case err != nil:
		return err
	case w.claimed != nil: // a constraint that is checked at the end has not failed the COMMIT
		moved := at.batches > w.claimed.batches
		w.record, w.at, w.single = after, at, 0
		if moved {
			w.advanced = time.Now()
			w.pauses = newPauses()
			w.report()
		}
		return nil
	case after.State == StateDone:
		w.record = after
		return nil
	case after.unfinished > 0:
		return errBusy
	}
	return w.end(ctx)
}

// add counts a batch of the range g in a record that was read before.
func (rec *record) add(rows int64, g *keyRange, b *Backfill) {
	rec.Rows += rows
	if rows > 0 {
		rec.Batches++
	}
	if !g.done {
		rec.BatchSize = max(rec.BatchSize, g.size)
	}
	rec.Rate += g.rate
	rec.UpdatedAt = time.Now()
	rec.derive(b)
}

// readStarted reads the record and returns an error unless workers may go on, or are done.
func (w *worker) readStarted(ctx context.Context, tx pgx.Tx, lock string) (record, error) {
	own := 0
	if w.claimed != nil {
		own = w.claimed.number
	}
	rec, err := w.read(ctx, tx, w.backfill, lock, own)
	switch {
	case err != nil:
		return rec, err
	case rec.undone, rec.ranges == 0:
		return rec, &StateError{Name: w.backfill.Name, State: StatePending}
	case rec.State == StatePaused:
		return rec, errPaused
	case rec.Edited, rec.State != StateStarted && rec.State != StateDone:
		return rec, &StateError{Name: w.backfill.Name, State: rec.State, Edited: rec.Edited, Reason: rec.Error}
	}
	return rec, nil
}

// page returns the first and the last key of the range's next rows, as text, and how many they are.
func (w *worker) page(ctx context.Context, g *keyRange) (first, last [][]byte, rows int64, err error) {
	sql, args, types := w.source.page(g)
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

// end verifies, and runs the finish in the transaction that records that the backfill is done. One
// worker does, until its session ends.
func (w *worker) end(ctx context.Context) error {
	ok, err := w.tryLock(ctx, w.conn, lockAlone, w.endKey(w.backfill))
	if err != nil {
		return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
	}
	if !ok {
		return errBusy
	}
	rec, err := w.read(ctx, w.conn, w.backfill, "", 0)
	if err != nil || rec.State != StateStarted { // another worker has ended it: the next step sees that
		return err
	}
	if w.backfill.Verify != "" {
		wrong, err := w.backfill.verify(ctx, w.conn)
		if err != nil {
			return err
		}
		if wrong > 0 {
			return &verifyError{wrong}
		}
	}
	return pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		rec, err := w.readStarted(ctx, tx, "for update of b")
		if err != nil || rec.State == StateDone || rec.unfinished > 0 {
			return err
		}
		if w.backfill.Finish != "" {
			if err := exec(ctx, w.conn, w.backfill.Finish); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, "update "+w.table()+" set state = $3, error = null, waiting = null, "+
			"updated_at = clock_timestamp(), ended_at = clock_timestamp() where version_table = $1 and name = $2",
			pgx.QueryExecModeExec, w.opts.VersionTable, w.backfill.Name, string(StateDone))
		if err != nil {
			return fmt.Errorf("backfill %s: record the end: %w", w.backfill.Name, err)
		}
		return nil
	})
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
	err = r.with(ctx, func(conn *pgx.Conn) error {
		wrong, err = b.verify(ctx, conn)
		return err
	})
	return wrong, err
}

func (b *Backfill) verify(ctx context.Context, conn *pgx.Conn) (wrong int64, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		result := conn.PgConn().ExecParams(ctx, b.Verify, nil, nil, nil, nil).Read()
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
		return 0, fmt.Errorf("verify backfill %s: %w", b.Name, err)
	}
	return wrong, nil
}

var errVerify = errors.New("the query has to return one number, of the rows that are wrong")

func exec(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Close()
	return err
}
