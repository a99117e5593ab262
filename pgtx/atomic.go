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
	opts.Eager = false
	ctx, cancel, explain := opts.limit(ctx)
	defer cancel()
	w := opts.watch(ctx, kindBatch)
	defer w.abandoned()
	inRun := false
	err = repeat(ctx, opts, func(number int) (again bool, err error) {
		w.start(number)
		s := newSession(ctx, ctx, key, opts, number)
		f := flight{session: s, batch: batch}
		defer f.end() // also if a callback panics
		if err = s.start(db, false); err == nil {
			inRun, err = f.run()
		}
		f.end()
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

// flight sends a batch together with BEGIN and COMMIT in a pipeline, as [statement] does for one
// statement, and reads the results.
type flight struct {
	session    *session
	batch      *pgx.Batch
	known      *knowledge
	statements []statement
	results    *flightResults // nil until the batch was sent
	sent       bool           // COMMIT was, at least in part
	ended      bool
}

// run sends the batch and judges the answers. inRun reports that nothing was sent, because pgx has to
// send it.
func (f *flight) run() (inRun bool, err error) {
	s, start := f.session, time.Now()
	if err := s.acquire(); err != nil {
		return false, err
	}
	if inRun, err = f.prepare(); inRun || err != nil {
		return inRun, phaseRun.in(start, err)
	}
	for again := true; again; {
		if err = s.onLiveConnection(f.send); err == nil {
			err = f.read()
		}
		// As in a Run, a flush that a forgotten prepared statement spoiled is repeated without a
		// trace.
		again = isStalePlan(err) && s.state == stateFailed && f.forget() && s.undoFirst()
	}
	if errors.As(err, new(*CommitUnknownError)) {
		return false, phaseCommit.in(start, err)
	}
	return false, phaseRun.in(start, err)
}

// prepare makes the statements of the queued queries.
func (f *flight) prepare() (inRun bool, err error) {
	s := f.session
	f.known = knowledgeOf(s.conn)
	f.statements = make([]statement, f.batch.Len())
	for i, q := range f.batch.QueuedQueries {
		st := &f.statements[i]
		riding, err := st.prepare(s.ctx, s, q.SQL, q.Arguments, true)
		if err != nil {
			return false, fmt.Errorf("batch: %w", err)
		}
		if !riding || st.mode != f.known.mode || st.formats != nil || st.formatsByOID != nil {
			return true, nil
		}
	}
	return false, nil
}

// send sends BEGIN, the queries and COMMIT, and reads the answers up to the first query's.
// unanswered reports that the connection broke before BEGIN was executed.
func (f *flight) send() (unanswered bool, err error) {
	s, start := f.session, time.Now()
	f.known = knowledgeOf(s.conn)
	var unknown []*statement
	described := map[string]bool{}
	for i := range f.statements {
		st := &f.statements[i]
		st.known, st.fresh = f.known, false
		st.description = f.known.find(st.mode, st.sql)
		if st.description == nil && st.mode != pgx.QueryExecModeExec && !described[st.sql] {
			described[st.sql] = true
			unknown = append(unknown, st)
		}
	}
	if len(unknown) == 0 {
		if err := f.encode(); err != nil {
			return false, err
		}
	}
	prelude := s.prelude()
	ctx := s.ctx
	if f.known.batchTracer != nil {
		ctx = f.known.batchTracer.TraceBatchStart(ctx, s.conn, pgx.TraceBatchStartData{Batch: f.batch})
	}
	p := s.conn.PgConn().StartPipeline(ctx)
	f.results = &flightResults{flight: f, ctx: ctx, pipeline: p}
	for _, sql := range prelude {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	closed := make([]int, len(unknown))
	for i, st := range unknown {
		st.traceCtx = ctx
		closed[i] = st.sendPrepare(p)
	}
	if len(unknown) == 0 {
		f.sendQueries(p)
	}
	err = p.Sync()
	s.times.begin += time.Since(start)
	if err != nil {
		return f.breakFlight(err)
	}
	for i := range prelude {
		result, err := nextResult(p)
		if err == nil {
			_, err = result.Close()
		}
		switch {
		case err != nil && s.conn.IsClosed():
			unanswered, err = f.breakFlight(err)
			return unanswered && i == 0, err
		case err != nil:
			f.closePipeline(err)
			s.abandonBegin(err)
			s.refuse(phaseBegin.in(start, fmt.Errorf("begin: %w", err)))
			return false, s.cause
		}
	}
	s.begun()
	if len(unknown) == 0 {
		return false, nil
	}
	for i, st := range unknown {
		if err := st.readPrepare(p, closed[i]); err != nil {
			f.closePipeline(err)
			s.observe(err)
			return false, fmt.Errorf("batch: %w", err)
		}
	}
	if _, err := p.GetResults(); err != nil { // Sync
		return f.breakFlight(err)
	}
	for i := range f.statements {
		st := &f.statements[i]
		st.fresh = st.description == nil || described[st.sql]
		if st.description == nil {
			st.description = f.known.find(st.mode, st.sql)
		}
		if st.description == nil { // the mode that keeps none
			for _, other := range unknown {
				if other.sql == st.sql {
					st.description = other.description
				}
			}
		}
	}
	if err := f.encode(); err != nil {
		f.closePipeline(nil)
		s.observe(nil)
		return false, err
	}
	f.sendQueries(p)
	if err := p.Sync(); err != nil {
		_, err = f.breakFlight(err)
		return false, err
	}
	return false, nil
}

func (f *flight) encode() error {
	for i := range f.statements {
		if err := f.statements[i].encode(f.session.conn); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
	}
	return nil
}

func (f *flight) sendQueries(p *pgconn.Pipeline) {
	for i := range f.statements {
		st := &f.statements[i]
		if st.mode == pgx.QueryExecModeDescribeExec { // the next one takes the place of the unnamed statement
			p.SendQueryParams(st.sql, st.encoded.ParamValues, st.description.ParamOIDs, st.encoded.ParamFormats, st.formats)
		} else {
			st.sendExecute(p)
		}
	}
	p.SendQueryParams("commit", nil, nil, nil, nil)
	f.sent = true
}

// breakFlight judges a connection that broke under the flush. Without COMMIT in it, or with nothing
// written, or with a message of the server that came in the place of an earlier answer, nothing was
// committed.
func (f *flight) breakFlight(err error) (unanswered bool, _ error) {
	s := f.session
	f.closePipeline(err)
	if !s.conn.IsClosed() { // ctx was done before anything was sent
		return false, fmt.Errorf("batch: %w", err)
	}
	if f.sent && !errors.As(err, new(*pgconn.PgError)) && !(s.state == stateIdle && pgconn.SafeToRetry(err)) {
		s.outcome = OutcomeUnknown
		return false, &CommitUnknownError{Err: err}
	}
	f.sent = false
	s.fail(stateLost, err)
	return true, fmt.Errorf("batch: %w", err)
}

// read reads the results and the answer to COMMIT.
func (f *flight) read() error {
	s := f.session
	reading := reader{batch: f.batch, results: f.results}
	err := reading.read()
	if err == nil {
		err = f.results.settleLast()
	}
	switch {
	case f.results.ends:
		f.closePipeline(ErrEnded)
		s.state, s.outcome = stateEnded, OutcomeUnknown
		return fmt.Errorf("batch: %w", ErrEnded)
	case err != nil && s.conn.IsClosed():
		_, err = f.breakFlight(err)
		return err
	case err != nil:
		f.closePipeline(err)
		s.observe(err)
		return fmt.Errorf("batch: %w", err)
	}
	var tag pgconn.CommandTag
	result, err := nextResult(f.results.pipeline)
	if err == nil {
		tag, err = result.Close()
	}
	f.closePipeline(err)
	switch judgment := judgeCommit(err, false); {
	case judgment == commitDone && tag.String() == "ROLLBACK":
		s.fail(stateFailed, pgx.ErrTxCommitRollback)
		return fmt.Errorf("batch: %w", pgx.ErrTxCommitRollback)
	case judgment == commitRefused, judgment == commitUnsent:
		s.fail(stateFailed, err)
		return fmt.Errorf("batch: %w", err)
	case judgment == commitUnknown && s.opts.TxOptions.AccessMode == pgx.ReadOnly:
		s.repeatable = true
		return fmt.Errorf("batch: no answer to the COMMIT of a read-only transaction: %w", err)
	case judgment == commitUnknown:
		s.outcome = OutcomeUnknown
		return &CommitUnknownError{Err: err}
	}
	s.close()
	s.outcome = OutcomeCommitted
	if reading.callback != nil {
		return &HookError{Err: reading.callback}
	}
	return nil
}

// forget drops the descriptions that the connection had before, and reports whether there were any.
func (f *flight) forget() (any bool) {
	for i := range f.statements {
		any = any || !f.statements[i].fresh
		f.known.forget(f.statements[i].sql)
	}
	return any
}

// closePipeline returns the connection to normal mode.
func (f *flight) closePipeline(err error) {
	if f.results == nil || f.results.closed {
		return
	}
	f.results.closed = true
	_ = f.results.pipeline.Close()
	if f.known.batchTracer != nil {
		f.known.batchTracer.TraceBatchEnd(f.results.ctx, f.known.conn, pgx.TraceBatchEndData{Err: err})
	}
}

// end leaves no transaction behind and gives the connection back.
func (f *flight) end() {
	if f.ended {
		return
	}
	f.ended = true
	if f.session.conn == nil {
		return
	}
	f.closePipeline(errNotReturned)
	outcome := f.session.outcome
	f.session.rollback()
	f.session.outcome = outcome
}

// flightResults are the results of the queries, for callbacks.
type flightResults struct {
	flight   *flight
	ctx      context.Context
	pipeline *pgconn.Pipeline
	next     int
	last     *pgconn.ResultReader // of rows that may still be open
	err      error                // of the server or the connection
	ends     bool                 // a query ended the transaction
	closed   bool
}

// advance returns the result of the next query.
func (r *flightResults) advance() (*pgconn.ResultReader, error) {
	if err := r.settleLast(); err != nil {
		return nil, err
	}
	switch {
	case r.closed:
		return nil, errors.New("batch already closed")
	case r.next >= len(r.flight.statements):
		return nil, errors.New("no more results in batch")
	}
	r.next++
	result, err := nextResult(r.pipeline)
	if err != nil {
		r.err = err
		r.trace(pgconn.CommandTag{})
		return nil, err
	}
	r.last = result
	return result, nil
}

// settleLast reads what is left of the last result.
func (r *flightResults) settleLast() error {
	if r.last == nil {
		return r.err
	}
	var tag pgconn.CommandTag
	tag, r.err = r.last.Close()
	r.last = nil
	st := &r.flight.statements[r.next-1]
	r.ends = r.ends || tagged(tag).end(st.sql)
	r.trace(tag)
	return r.err
}

func (r *flightResults) trace(tag pgconn.CommandTag) {
	if tracer := r.flight.known.batchTracer; tracer != nil {
		st := &r.flight.statements[r.next-1]
		tracer.TraceBatchQuery(r.ctx, r.flight.known.conn, pgx.TraceBatchQueryData{SQL: st.sql, Args: st.args, CommandTag: tag, Err: r.err})
	}
}

func (r *flightResults) Exec() (pgconn.CommandTag, error) {
	result, err := r.advance()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, _ := result.Close()
	return tag, r.settleLast()
}

func (r *flightResults) Query() (pgx.Rows, error) {
	result, err := r.advance()
	if err != nil {
		return errRows{err: err}, err
	}
	return &flightRows{Rows: pgx.RowsFromResultReader(r.flight.session.conn.TypeMap(), result), conn: r.flight.session.conn}, nil
}

func (r *flightResults) QueryRow() pgx.Row {
	rows, _ := r.Query()
	return plainRow{rows}
}

// Close is called by callbacks at most: the flight reads the rest.
func (r *flightResults) Close() error { return r.settleLast() }

// Tx is nil: the transaction belongs to Atomic.
func (r *flightResults) Tx() pgx.Tx { return nil }

type flightRows struct {
	pgx.Rows
	conn *pgx.Conn
}

func (r *flightRows) Conn() *pgx.Conn { return r.conn }
