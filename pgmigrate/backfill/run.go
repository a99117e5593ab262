package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// Run runs a backfill to its end, from the first row or behind its last batches. It returns nil if
// it is done, now or before.
//
// Run blocks until then. It shares the work with other calls of Run, also of other processes. It
// waits while the backfill is paused, and while Options say so. When ctx ends, the present batches
// are rolled back, and Run returns an error that wraps ctx's; the next Run goes on. A connection
// that breaks is opened again until ctx ends. The error of the first attempt to connect is
// returned.
//
// A batch that meets a lock timeout, a deadlock or a serialization failure is tried again until ctx
// ends. One that meets the statement timeout or an error of its rows is tried with fewer rows, down
// to one, so that all rows before the faulty one in its range are done. What then still fails is a
// *[BatchError]; the state is failed, and the other workers end. Run returns a *[StateError] where
// a person has to decide.
func (r *Runner) Run(ctx context.Context, name string) error {
	b, err := r.find(name)
	if err != nil {
		return err
	}
	workers, stop := context.WithCancel(ctx)
	defer stop()
	c := &call{Runner: r, backfill: b, log: r.opts.Logger.With("backfill", name), logged: time.Now()}
	errs := make(chan error, r.opts.Workers)
	for range r.opts.Workers {
		w := &worker{call: c, pauses: newPauses()}
		go func() { errs <- w.run(workers) }()
	}
	for range r.opts.Workers {
		e := <-errs
		var state *StateError
		if e != nil && !errors.As(e, &state) { // the others see a state by themselves
			stop()
		}
		err = moreTelling(err, e)
	}
	switch {
	case err == nil:
		c.log.Info("backfill done", "rows", c.last.Rows, "batches", c.last.Batches)
		c.report(c.last)
		return nil
	case ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)):
		return fmt.Errorf("backfill %s: %w: %w", name, context.Cause(ctx), err)
	}
	return err
}

// moreTelling returns the error that came first, unless a later one says which batch failed.
func moreTelling(first, later error) error {
	var batch *BatchError
	if first == nil || errors.As(later, &batch) && !errors.As(first, &batch) {
		return later
	}
	return first
}

// call is a call of Run.
type call struct {
	*Runner
	backfill *Backfill
	log      *slog.Logger

	mu     sync.Mutex
	last   record // that a worker has seen
	logged time.Time
}

// worker works on a backfill with a connection of its own.
type worker struct {
	*call
	conn    *pgx.Conn
	source  *source
	record  record    // as of the last batch
	claimed *keyRange // of the present batch; nil at the end
	at      keyRange  // after the last batch

	lost     bool // the session ended because of its connection
	begun    bool // a session has begun, or broke when it did
	single   int  // statement timeouts of one row, in a row
	pauses   retry.Backoff
	advanced time.Time // when the last batch was committed
	load     load
}

// run works until the backfill ends.
func (w *worker) run(ctx context.Context) error {
	for {
		err := w.session(ctx)
		if err == nil || ctx.Err() != nil || !w.begun || !w.lost {
			return err
		}
		w.log.Warn("the connection is lost, connecting again", "reason", causeText(err))
		if err := w.pause(ctx); err != nil {
			return fmt.Errorf("backfill %s: %w", w.backfill.Name, err)
		}
	}
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
	w.single = 0
	defer func() {
		w.lost = w.isLost(err)
		w.begun = w.begun || w.conn.IsClosed()
		session.Unlock(ctx, w.conn)
		session.Close(ctx, w.conn)
	}()
	if err := w.lock(ctx); err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	w.begun = true
	w.advanced = time.Now()
	for w.record.State != StateDone {
		if err := w.waitForLoad(ctx); err != nil {
			return err
		}
		err := w.step(ctx)
		switch {
		case err == nil:
		case errors.Is(err, errPaused):
			err = w.waitForResume(ctx)
		case errors.Is(err, errBusy):
			err = sleep(ctx, poll)
		default:
			err = w.failed(ctx, err)
		}
		if err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = w.record
	return nil
}

// begin finds or makes the record, the ranges and the table.
func (w *worker) begin(ctx context.Context) error {
	if err := w.createTables(ctx, w.conn); err != nil {
		return err
	}
	rec, err := w.read(ctx, w.conn, w.backfill, "", 0)
	switch {
	case err != nil:
		return err
	case rec.undone, rec.State == StatePending:
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
	var bounds [][]string
	if rec.undone || rec.Batches == 0 {
		if bounds, err = w.source.cut(ctx, w.conn, total); err != nil {
			return fmt.Errorf("backfill %s: sample the table's keys: %w", w.backfill.Name, err)
		}
	}
	err = pgx.BeginTxFunc(ctx, w.conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return w.beginRecord(ctx, tx, total, bounds)
	})
	if err == nil {
		w.record, err = w.read(ctx, w.conn, w.backfill, "", 0)
	}
	if err != nil {
		return fmt.Errorf("begin backfill %s: %w", w.backfill.Name, err)
	}
	w.log.Info("backfill begins", "rows", w.record.Rows, "of about", w.record.Total)
	return nil
}

// beginRecord makes the record or brings it up to date. Workers take turns on its row, and the
// first makes the ranges.
func (w *worker) beginRecord(ctx context.Context, tx pgx.Tx, total int64, bounds [][]string) error {
	if _, err := tx.Exec(ctx, "set local lock_timeout = 0"); err != nil {
		return err
	}
	rec, err := w.read(ctx, tx, w.backfill, "for update of b", 0)
	if err != nil {
		return err
	}
	if rec.Edited && rec.Batches == 0 && rec.ranges > 0 { // the first may be running
		if err := w.waitForBatches(ctx, tx, w.backfill.Name); err != nil {
			return err
		}
		if rec, err = w.read(ctx, tx, w.backfill, "", 0); err != nil {
			return err
		}
	}
	state := StateStarted
	if rec.undone || rec.Batches == 0 && rec.ranges > 0 && rec.Edited {
		if rec.State == StatePaused {
			state = StatePaused
		}
		if err := w.delete(ctx, tx, w.backfill); err != nil {
			return err
		}
	}
	if err := w.insert(ctx, tx, w.backfill, state); err != nil {
		return err
	}
	if rec, err = w.read(ctx, tx, w.backfill, "for update of b", 0); err != nil {
		return err
	}
	if rec.State != StateStarted && rec.State != StatePaused || rec.Edited && rec.Batches > 0 {
		return nil // that has changed since begin looked: the next step says so
	}
	if rec.ranges == 0 {
		if err := w.insertRanges(ctx, tx, bounds); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "update "+w.table()+" set checksum = $3, source = $4, client = $5, rows_total = $6, "+
		"waiting = null, error = case state when 'failed' then error end, updated_at = clock_timestamp() "+
		"where version_table = $1 and name = $2", pgx.QueryExecModeExec, w.opts.VersionTable,
		w.backfill.Name, w.backfill.Checksum(), w.backfill.source(), session.ClientName(), total)
	return err
}

// report tells of a batch, or of what holds one up. Workers take turns.
func (w *worker) report() { w.call.report(w.record) }

func (c *call) report(rec record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec.Workers = c.opts.Workers
	rec.derive(c.backfill)
	if c.opts.Progress != nil {
		c.opts.Progress(rec.Status)
	}
	if time.Since(c.logged) >= logInterval {
		c.logged = time.Now()
		attrs := []any{"rows", rec.Rows, "of about", rec.Total, "rows a second", int(rec.Rate), "left", rec.Left}
		if rec.Waiting != "" {
			attrs = append(attrs, "waiting", rec.Waiting)
		}
		c.log.Info("backfilling", attrs...)
	}
}

var errPaused = errors.New("paused")

// waitForResume returns when the backfill is no longer paused.
func (w *worker) waitForResume(ctx context.Context) error {
	w.log.Info("paused")
	for {
		rec, err := w.read(ctx, w.conn, w.backfill, "", 0)
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
