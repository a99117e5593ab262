package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
)

// Atomic sends batch as one transaction in one round trip: BEGIN with opts.TxOptions, its queries
// and COMMIT travel together. (On a connection that has not prepared the statements yet, the
// caching modes of pgx take one more.) All of its queries take effect, or none.
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
// With VerifyCommit or an IdempotencyKey the batch is sent inside a Run, in two round trips and
// more: what identifies the transaction has to be known before COMMIT is sent.
//
// With the ctx of a Run on the same db, or on a pgx.Tx, the batch is a savepoint of that
// transaction; on a db that is neither a pool nor a connection it is sent inside a Run. batch is
// not changed, and may be used again. An encoding error closes the connection, as with SendBatch of
// pgx.
func Atomic(ctx context.Context, db DB, opts Options, batch *pgx.Batch) error {
	if batch == nil {
		return refused(errors.New("batch: the batch is nil"))
	}
	if begins(batch) {
		return refused(errors.New("batch: it begins a transaction itself: remove its BeginTx and pass TxOptions"))
	}
	key, err := keyOf(db)
	if err != nil {
		return refused(fmt.Errorf("batch: %w", err))
	}
	if batch.Len() == 0 {
		return nil
	}
	_, isTx := db.(pgx.Tx)
	pool, isPool := db.(acquirer)
	if isTx || opts.Nesting == Required || opts.VerifyCommit || opts.IdempotencyKey != "" || innermost(ctx, key) != nil || !isPool && connOf(db) == nil {
		return RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
			return tx.SendBatch(ctx, copyOf(batch)).Close()
		})
	}
	ctx, cancel, explain := opts.within(ctx)
	defer cancel()
	w := opts.watch(ctx, KindBatch)
	defer w.abandoned()
	attempts := 0
	err = repeat(ctx, opts, func() (again bool, err error) {
		attempts++
		w.start(attempts)
		var spent times
		if isPool {
			again, err = atomicOnPool(ctx, pool, opts, batch, &spent)
		} else {
			again, err = atomicOnConn(ctx, connOf(db), opts, batch)
		}
		w.end(spent, batchOutcome(err), err)
		return again, err
	})
	w.finish(err)
	return explain(err)
}

func atomicOnPool(ctx context.Context, pool acquirer, opts Options, batch *pgx.Batch, spent *times) (again bool, err error) {
	start := time.Now()
	conn, err := acquireWithin(ctx, pool, opts.AcquireTimeout)
	spent.acquire = time.Since(start)
	if err != nil {
		return ctx.Err() == nil && opts.again(err, pgerr.Retryable(err)), PhaseAcquire.in(start, err)
	}
	defer conn.Release() // destroys a connection that is busy, because a callback panicked
	return atomicOnConn(ctx, conn.Conn(), opts, batch)
}

func atomicOnConn(ctx context.Context, conn *pgx.Conn, opts Options, batch *pgx.Batch) (again bool, err error) {
	if ctx.Err() != nil {
		return false, refused(fmt.Errorf("begin: %w", context.Cause(ctx)))
	}
	if conn.IsClosed() {
		return false, refused(fmt.Errorf("begin: %w", pgconn.ErrConnClosed)) // and not an unknown outcome
	}
	if err := idle(conn); err != nil {
		return false, refused(fmt.Errorf("begin: %w", err))
	}
	return sendAtomic(ctx, conn, opts, batch)
}

// batchOutcome is that of a batch whose transaction ended with err.
func batchOutcome(err error) Outcome {
	switch {
	case err == nil, errors.As(err, new(*HookError)):
		return OutcomeCommitted
	case errors.As(err, new(*CommitUnknownError)):
		return OutcomeUnknown
	}
	return OutcomeRolledBack
}

// acquirer is a pool.
type acquirer interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
}

// begins reports whether BeginTx was called on batch, which pgx keeps in an unexported field.
func begins(batch *pgx.Batch) bool {
	return pgx.FailedBatchResults(batch, pgx.ErrTxClosed).Tx() != nil
}

// copyOf is the batch as it was queued: sending fills the queued queries with what belongs to one
// connection.
func copyOf(batch *pgx.Batch) *pgx.Batch {
	fresh := &pgx.Batch{}
	appendTo(fresh, batch)
	return fresh
}

func appendTo(fresh, batch *pgx.Batch) {
	for _, q := range batch.QueuedQueries {
		fresh.Queue(q.SQL, q.Arguments...).Fn = q.Fn
	}
}

// sendAtomic runs batch once on conn and reports whether it may run again.
func sendAtomic(ctx context.Context, conn *pgx.Conn, opts Options, batch *pgx.Batch) (again bool, err error) {
	whole := &pgx.Batch{}
	preamble := opts.queuePreamble(whole, opts.statementLimit(ctx))
	appendTo(whole, batch)
	commit := "commit"
	if opts.TxOptions.CommitQuery != "" {
		commit = opts.TxOptions.CommitQuery
	}
	whole.Queue(commit)

	start, phase := time.Now(), PhaseRun
	results := conn.SendBatch(ctx, whole)
	defer results.Close()
	var callback error // the first
	_, err = results.Exec()
	if err != nil && !conn.IsClosed() && !errors.As(err, new(*pgconn.PgError)) {
		// An argument that cannot be encoded: nothing was sent.
		return false, PhaseRun.in(start, fmt.Errorf("batch: %w", unwrapped(err)))
	}
	if refusesBegin(err) {
		phase = PhaseBegin
	}
	for range preamble - 1 {
		if err == nil {
			_, err = results.Exec()
		}
	}
	for _, q := range batch.QueuedQueries {
		if err != nil {
			break
		}
		if q.Fn != nil && callback == nil {
			// What the server answered and what the callback made of it are told apart by the next
			// result: after an error of the server there is none.
			callback = q.Fn(results)
		} else {
			_, err = results.Exec()
		}
	}
	var tag pgconn.CommandTag
	if err == nil {
		phase = PhaseCommit
		tag, err = results.Exec()
	}
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err == nil && tag.String() == "ROLLBACK" {
		err = pgx.ErrTxCommitRollback
	}
	if err == nil {
		if callback != nil {
			return false, &HookError{Err: callback}
		}
		return false, nil
	}
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
		defer cancel()
		if _, rollbackErr := conn.Exec(cleanup, "rollback"); rollbackErr != nil {
			_ = conn.Close(cleanup)
		}
	}
	err = batchError(err)
	if errors.As(err, new(*CommitUnknownError)) {
		phase = PhaseCommit
	}
	err = phase.in(start, err)
	return ctx.Err() == nil && opts.again(err, worthRepeating(err, false)), err
}

// batchError says what an error of a batch that ended in COMMIT means.
func batchError(err error) error {
	var pgError *pgconn.PgError
	switch {
	case errors.As(err, new(pgx.ErrPreprocessingBatch)):
		return fmt.Errorf("batch: %w", unwrapped(err)) // nothing but statements to prepare was sent
	case errors.Is(err, pgx.ErrTxCommitRollback), errors.As(err, &pgError) && refusesCommit(pgError):
		return fmt.Errorf("batch: %w", err)
	}
	return &CommitUnknownError{Err: err}
}

// beginSQL is what pgx sends for txOptions.
func beginSQL(txOptions pgx.TxOptions) string {
	if txOptions == (pgx.TxOptions{}) {
		return "begin"
	}
	var b pgx.Batch
	b.BeginTx(txOptions)
	return b.QueuedQueries[0].SQL
}

// unwrapped takes away what pgx puts around an error met before a batch was sent, so that it reads
// as without a batch.
func unwrapped(err error) error {
	if err == nil {
		return nil
	}
	var unsent pgx.ErrPreprocessingBatch
	if errors.As(err, &unsent) {
		return unsent.Unwrap()
	}
	return err
}
