package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

const (
	// poll is how often a worker looks whether what it waits for has ended.
	poll = 500 * time.Millisecond

	// Pauses after a failure grow from the first to the longest.
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second

	logInterval = time.Minute
)

// Run runs a backfill to its end, from the first row or behind its last batch. It returns nil if
// it is done, now or before.
//
// Run blocks until then. It waits while another worker runs the same backfill, while it is paused,
// and while Options say so. When ctx ends, the present batch is rolled back, and Run returns an
// error that wraps ctx's; the next Run goes on. A connection that breaks is opened again until ctx
// ends. The error of the first attempt to connect is returned.
//
// A batch that meets a lock timeout, a deadlock or a serialization failure is tried again until ctx
// ends. One that meets the statement timeout or an error of its rows is tried with fewer rows, down
// to one, so that all rows before the faulty one are done. What then still fails is a
// *[BatchError]; the state is failed. Run returns a *[StateError] where a person has to decide.
func (r *Runner) Run(ctx context.Context, name string) error {
	b, err := r.find(name)
	if err != nil {
		return err
	}
	w := &worker{Runner: r, backfill: b, log: r.opts.Logger.With("backfill", name)}
	w.pauses = newPauses()
	for {
		err := w.session(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			if errors.Is(err, context.Cause(ctx)) {
				return err
			}
			return fmt.Errorf("backfill %s: %w: %w", name, context.Cause(ctx), err)
		case !w.begun || !w.lost:
			return err
		}
		w.log.Warn("the connection is lost, connecting again", "reason", causeText(err))
		if err := w.pause(ctx); err != nil {
			return fmt.Errorf("backfill %s: %w", name, err)
		}
	}
}

// worker is one call of Run.
type worker struct {
	*Runner
	backfill *Backfill
	log      *slog.Logger
	conn     *pgx.Conn
	source   *source
	record   record // as of the last batch

	lost     bool // the session ended because of its connection
	begun    bool // there was a session
	ending   bool // all rows are done
	single   int  // statement timeouts of one row, in a row
	pauses   retry.Backoff
	advanced time.Time // when the last batch was committed
	logged   time.Time
	load     load
}

func newPauses() retry.Backoff {
	return retry.WithCappedDuration(retryMost, retry.NewExponential(retryFirst))
}

// pause waits longer after each failure. A batch that succeeds resets it.
func (w *worker) pause(ctx context.Context) error {
	d, _ := w.pauses.Next()
	return sleep(ctx, d)
}

// isLost reports whether another session may do what this one could not.
func (w *worker) isLost(err error) bool {
	return w.conn.IsClosed() || pgerr.Of(err) == pgerr.ReadOnly // the server was demoted
}

// session works until the backfill ends or the connection breaks.
func (w *worker) session(ctx context.Context) (err error) {
	if w.conn, err = w.connect(ctx); err != nil {
		w.lost = pgerr.Startup(err)
		return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
	}
	w.begun = true
	w.ending, w.single = false, 0 // somebody may have restarted the backfill meanwhile
	defer func() {
		w.lost = w.isLost(err)
		session.Unlock(ctx, w.conn)
		session.Close(ctx, w.conn)
	}()
	if err := w.lock(ctx); err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil || w.record.State == StateDone {
		return err
	}
	w.advanced, w.logged = time.Now(), time.Now()
	for {
		if err := w.waitForLoad(ctx); err != nil {
			return err
		}
		err := w.step(ctx)
		switch {
		case err == nil && w.record.State == StateDone:
			w.log.Info("backfill done", "rows", w.record.Rows, "batches", w.record.Batches)
			w.report()
			return nil
		case err == nil && !w.ending: // a batch
			w.pauses = newPauses()
			w.report()
		case err == nil:
		case errors.Is(err, errPaused):
			err = w.waitForResume(ctx)
		default:
			err = w.failed(ctx, err)
		}
		if err != nil {
			return err
		}
	}
}

// begin finds or makes the record and the table.
func (w *worker) begin(ctx context.Context) error {
	if err := w.createTable(ctx, w.conn); err != nil {
		return err
	}
	rec, err := w.read(ctx, w.conn, w.backfill, "")
	if err != nil {
		return err
	}
	state := StateStarted
	if rec.undone {
		if rec.State == StatePaused {
			state = StatePaused
		}
		if err := w.delete(ctx, w.conn, w.backfill); err != nil {
			return err
		}
	}
	switch {
	case rec.undone || rec.State == StatePending:
	case rec.State == StateCanceled || rec.State == StateFailed ||
		rec.Edited && (rec.Batches > 0 || rec.State == StateDone):
		return &StateError{Name: w.backfill.Name, State: rec.State, Edited: rec.Edited, Reason: rec.Error}
	case rec.State == StateDone:
		w.record = rec
		return nil
	}
	if w.source, err = findSource(ctx, w.conn, w.backfill); err != nil {
		return err
	}
	total, err := w.source.estimate(ctx, w.conn)
	if err != nil {
		return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
	}
	if err := w.insert(ctx, w.conn, w.backfill, state); err != nil {
		return err
	}
	_, err = w.conn.Exec(ctx, "update "+w.table()+" set checksum = $3, client = $4, rows_total = greatest(rows_done, "+
		"$5), updated_at = clock_timestamp() where version_table = $1 and name = $2", pgx.QueryExecModeExec,
		w.opts.VersionTable, w.backfill.Name, w.backfill.Checksum(), session.ClientName(), total)
	if err == nil {
		w.record, err = w.read(ctx, w.conn, w.backfill, "")
	}
	if err != nil {
		return fmt.Errorf("begin backfill %s: %w", w.backfill.Name, err)
	}
	w.log.Info("backfill begins", "rows", w.record.Rows, "of about", w.record.Total)
	return nil
}

// report tells of a batch.
func (w *worker) report() {
	w.record.Running = true
	w.record.derive(w.backfill)
	if w.opts.Progress != nil {
		w.opts.Progress(w.record.Status)
	}
	if time.Since(w.logged) >= logInterval {
		w.logged = time.Now()
		w.log.Info("backfilling", "rows", w.record.Rows, "of about", w.record.Total, "rows a second",
			int(w.record.Rate), "left", w.record.Left)
	}
}

var errPaused = errors.New("paused")

// waitForResume returns when the backfill is no longer paused.
func (w *worker) waitForResume(ctx context.Context) error {
	w.log.Info("paused")
	for {
		rec, err := w.read(ctx, w.conn, w.backfill, "")
		if err != nil {
			return err
		}
		if rec.State != StatePaused {
			w.advanced = time.Now()
			return nil
		}
		if w.record.State != StatePaused {
			w.record = rec
			w.report()
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("backfill %s: paused: %w", w.backfill.Name, err)
		}
	}
}
