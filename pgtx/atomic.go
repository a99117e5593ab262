package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Atomic sends batch as one transaction in one round trip: BEGIN, its limits and settings, the
// queries and COMMIT travel together. Texts that the connection does not know yet take one more, in
// which BEGIN goes first. All of its queries take effect, or none.
//
// It is repeated like the function of [Run] on errors that are worth it, but not when the
// connection breaks after the batch was sent: COMMIT was on its way, so the outcome is unknown and
// the result a [*CommitUnknownError]. The end of ctx while it is under way breaks the connection;
// where deadlines are short, prefer Run, whose COMMIT outlasts ctx.
//
// Callbacks queued with the batch run while results arrive, which is before the outcome is known:
// COMMIT may still fail, on a deferred constraint for instance, and a repetition calls them again.
// An error of a callback cannot stop the COMMIT that has already been sent. It keeps the callbacks
// after it from being called, and if the transaction committed the result is a [*HookError].
//
// With VerifyCommit, an IdempotencyKey, a BeginQuery or a CommitQuery the batch is sent inside a
// Run, in two round trips and more; callbacks and results are the same.
//
// With the ctx of a Run on the same db, or on a pgx.Tx, the batch is a savepoint of that
// transaction, and an error of a callback undoes it; on a db that is neither a pool nor a connection
// it is sent inside a Run. batch is not changed, and may be used again.
func Atomic(ctx context.Context, db DB, opts Options, batch *pgx.Batch) error {
	if batch == nil {
		return refused(errors.New("batch: the batch is nil"))
	}
	if begins(batch) {
		return refused(errors.New("batch: it begins a transaction itself: remove its BeginTx and pass TxOptions"))
	}
	key, err := keyOf(db)
	if err == nil {
		err = opts.validate()
	}
	if err != nil {
		return refused(fmt.Errorf("batch: %w", err))
	}
	if batch.Len() == 0 {
		return nil
	}
	_, isTx := db.(pgx.Tx)
	_, isPool := db.(acquirer)
	switch {
	case isTx, opts.Nesting == Required, findHandle(ctx, key) != nil:
		return RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
			return tx.SendBatch(ctx, batch).Close()
		})
	case opts.VerifyCommit, opts.IdempotencyKey != "", opts.TxOptions.BeginQuery != "", opts.TxOptions.CommitQuery != "",
		!isPool && connOf(db) == nil, batch.Len() > maxFlight:
		return atomicInRun(ctx, db, opts, batch)
	}
	ctx, cancel, explain := opts.limit(ctx)
	defer cancel()
	w := opts.watch(ctx, kindBatch)
	defer w.abandoned()
	inRun := false
	err = repeat(ctx, opts, func(number int) (again bool, err error) {
		w.start(number)
		s := newSession(ctx, ctx, key, opts, number)
		a := batchFlight{session: s, batch: batch}
		defer a.end() // also if a callback panics
		if _, err = s.attach(db, false); err == nil {
			inRun, err = a.run()
		}
		a.end()
		w.end(s.times, s.outcome, err)
		return err != nil && !inRun && s.again(err) && !isClosedConn(db), err
	})
	if inRun {
		w.drop()
		return atomicInRun(ctx, db, opts, batch)
	}
	w.finish(err)
	return explain(err)
}

// atomicInRun sends the batch inside a Run. An error of a callback does not keep it from
// committing, as it could not where COMMIT travels with the batch.
func atomicInRun(ctx context.Context, db DB, opts Options, batch *pgx.Batch) error {
	var callback error
	err := RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
		callback = nil
		results := tx.SendBatch(ctx, batch)
		defer results.Close()
		reading := reader{batch: batch, results: results}
		err := reading.read()
		callback = reading.callback
		closeErr := results.Close()
		if err == nil && (callback == nil || errors.As(closeErr, new(*pgconn.PgError))) {
			err = closeErr
		}
		return err
	})
	if err == nil && callback != nil {
		return &HookError{Err: callback}
	}
	return err
}

// begins reports whether BeginTx was called on batch, which pgx keeps in an unexported field.
func begins(batch *pgx.Batch) bool {
	return pgx.FailedBatchResults(batch, pgx.ErrTxClosed).Tx() != nil
}

// copyOf is the batch as it was queued, without callbacks: sending fills the queued queries with
// what belongs to one connection.
func copyOf(batch *pgx.Batch) *pgx.Batch {
	fresh := &pgx.Batch{}
	for _, q := range batch.QueuedQueries {
		fresh.Queue(q.SQL, q.Arguments...)
	}
	return fresh
}

// reader reads the results of a batch.
type reader struct {
	batch    *pgx.Batch
	results  pgx.BatchResults
	callback error // the first of a callback
}

// read calls the callbacks and returns the error of the server. What the server answered and what a
// callback made of it are told apart by the next result: after an error of the server there is
// none.
func (r *reader) read() (err error) {
	for _, q := range r.batch.QueuedQueries {
		if q.Fn != nil && r.callback == nil {
			r.callback = q.Fn(r.results)
			continue
		}
		if _, err = r.results.Exec(); err != nil {
			return err
		}
	}
	return nil
}

// maxFlight limits the queries of a batch that is sent in one flush: with twice as many
// descriptions kept, those of one batch do not push each other out.
const maxFlight = maxDescriptions / 2

// batchFlight sends a batch together with BEGIN and COMMIT, and reads the results.
type batchFlight struct {
	flight
	session *session
	batch   *pgx.Batch
	results *atomicResults
	started time.Time
	ended   bool
}

// run sends the batch and judges the answers. inRun reports that nothing was sent, because pgx has
// to send it.
func (a *batchFlight) run() (inRun bool, err error) {
	s, start := a.session, time.Now()
	a.started = start
	if err := s.acquire(); err != nil {
		return false, err
	}
	if s.conn.IsClosed() {
		return false, refused(fmt.Errorf("begin: %w", pgconn.ErrConnClosed))
	}
	a.ctx, a.known, a.commit = s.ctx, knowledgeOf(s.conn), true
	a.statements = make([]statement, a.batch.Len())
	for i, q := range a.batch.QueuedQueries {
		st := &a.statements[i]
		ok, err := st.read(s.ctx, s, q.SQL, q.Arguments, true)
		if err != nil {
			return false, phaseRun.in(start, fmt.Errorf("batch: %w", err))
		}
		if !ok || st.mode != a.known.mode || st.formats != nil || st.formatsByOID != nil {
			return true, nil
		}
	}
	for {
		err = s.onLiveConnection(a.send)
		if err == nil {
			err = a.read()
		}
		if !a.isStale(s, err) || !s.undoFirst() {
			break
		}
	}
	switch {
	case err == nil, errors.As(err, new(*HookError)), errors.As(err, new(*PhaseError)):
		return false, err
	case errors.As(err, new(*CommitUnknownError)):
		return false, phaseCommit.in(start, err)
	}
	return false, phaseRun.in(start, fmt.Errorf("batch: %w", err))
}

func (a *batchFlight) send() (unanswered bool, err error) {
	a.results = &atomicResults{atomic: a, ctx: a.ctx}
	unanswered, err = a.flight.send(a.session, func() {
		if tracer := a.known.batchTracer; tracer != nil {
			a.results.ctx = tracer.TraceBatchStart(a.ctx, a.known.conn, pgx.TraceBatchStartData{Batch: a.batch})
		}
	})
	if err == nil {
		err = a.failed
	}
	if err != nil {
		a.close(err)
	}
	return unanswered, err
}

// read reads the results and the answer to COMMIT.
func (a *batchFlight) read() error {
	s := a.session
	reading := reader{batch: a.batch, results: a.results}
	err := reading.read()
	if err == nil {
		err = a.results.settleLast()
	}
	if err == nil && a.results.ends {
		err = ErrEnded
	}
	if err != nil {
		unknown := s.conn.IsClosed() && a.breakUnder(s, err, false)
		a.close(err)
		if a.results.ends {
			s.endByFunction()
			s.outcome = OutcomeUnknown
			return ErrEnded
		}
		if s.observe(err); unknown {
			return &CommitUnknownError{Err: err}
		}
		return err
	}
	var tag pgconn.CommandTag
	result, err := nextResult(a.pipeline)
	if err == nil {
		tag, err = result.Close()
	}
	if a.close(err); err == nil && tag.String() == "ROLLBACK" {
		err = pgx.ErrTxCommitRollback
		s.fail(stateFailed, err)
		return err
	}
	unknown, err := s.judgeCommit(err, false)
	switch {
	case unknown:
		return &CommitUnknownError{Err: err}
	case err != nil:
		return phaseCommit.in(a.started, fmt.Errorf("batch: %w", err))
	}
	s.condition.close()
	s.outcome = OutcomeCommitted
	if reading.callback != nil {
		return &HookError{Err: reading.callback}
	}
	return nil
}

// close returns the connection to normal mode.
func (a *batchFlight) close(err error) {
	if a.results == nil || a.results.closed {
		return
	}
	a.results.closed = true
	if a.pipeline != nil {
		_ = a.pipeline.Close()
	}
	if tracer := a.known.batchTracer; tracer != nil {
		tracer.TraceBatchEnd(a.results.ctx, a.known.conn, pgx.TraceBatchEndData{Err: err})
	}
}

// end leaves no transaction behind and gives the connection back.
func (a *batchFlight) end() {
	if a.ended || a.session.conn == nil {
		return
	}
	a.ended = true
	a.close(errNotReturned)
	outcome, spent := a.session.outcome, a.session.times
	a.session.rollback()
	a.session.outcome, a.session.times = outcome, spent
}

// atomicResults are the results of the queries, for callbacks.
type atomicResults struct {
	atomic *batchFlight
	ctx    context.Context
	next   int
	last   *pgconn.ResultReader // of rows that may still be open
	err    error                // of the server or the connection
	ends   bool                 // a query ended the transaction
	closed bool
}

// advance returns the result of the next query.
func (r *atomicResults) advance() (*pgconn.ResultReader, error) {
	if err := r.settleLast(); err != nil {
		return nil, err
	}
	switch {
	case r.closed:
		return nil, errors.New("batch already closed")
	case r.next >= len(r.atomic.statements):
		return nil, errors.New("no more results in batch")
	}
	r.next++
	result, err := nextResult(r.atomic.pipeline)
	if err != nil {
		r.err = err
		r.trace(pgconn.CommandTag{})
		return nil, err
	}
	r.last = result
	return result, nil
}

// settleLast reads what is left of the last result.
func (r *atomicResults) settleLast() error {
	if r.last == nil {
		return r.err
	}
	var tag pgconn.CommandTag
	tag, r.err = r.last.Close()
	r.last = nil
	r.ends = r.ends || tagged(tag).end(r.atomic.statements[r.next-1].sql)
	r.trace(tag)
	return r.err
}

func (r *atomicResults) trace(tag pgconn.CommandTag) {
	if tracer := r.atomic.known.batchTracer; tracer != nil {
		st := &r.atomic.statements[r.next-1]
		tracer.TraceBatchQuery(r.ctx, r.atomic.known.conn, pgx.TraceBatchQueryData{
			SQL: st.sql, Args: st.args, CommandTag: tag, Err: r.err,
		})
	}
}

func (r *atomicResults) Exec() (pgconn.CommandTag, error) {
	result, err := r.advance()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, _ := result.Close()
	return tag, r.settleLast()
}

func (r *atomicResults) Query() (pgx.Rows, error) {
	result, err := r.advance()
	if err != nil {
		return errRows{err: err}, err
	}
	conn := r.atomic.session.conn
	return &atomicRows{Rows: pgx.RowsFromResultReader(conn.TypeMap(), result), conn: conn}, nil
}

func (r *atomicResults) QueryRow() pgx.Row {
	rows, _ := r.Query()
	return plainRow{rows}
}

// Close is called by callbacks at most: Atomic reads the rest.
func (r *atomicResults) Close() error { return r.settleLast() }

// Tx is nil: the transaction belongs to Atomic.
func (r *atomicResults) Tx() pgx.Tx { return nil }

type atomicRows struct {
	pgx.Rows
	conn *pgx.Conn
}

func (r *atomicRows) Conn() *pgx.Conn { return r.conn }
