package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Atomic sends batch as one transaction in two round trips: BEGIN with its limits and settings goes
// first, and the queries travel with COMMIT. Texts that the connection does not know yet take one
// more. All of its queries take effect, or none.
//
// It is repeated like the function of [Run], but not when the connection breaks after the batch was
// sent: COMMIT was on its way, so the outcome is unknown. VerifyCommit and an IdempotencyKey
// resolve it as they do for Run; otherwise the result is a [*CommitUnknownError]. The end of ctx
// while the batch is under way breaks the connection; where deadlines are short, prefer Run, whose
// COMMIT outlasts ctx.
//
// Callbacks queued with the batch run while results arrive, which is before the outcome is known:
// COMMIT may still fail, on a deferred constraint for instance, and a repetition calls them again.
// A callback can read the result of its own query only. An error of a callback cannot stop the
// COMMIT that has already been sent. It keeps the callbacks after it from being called, and if the
// transaction committed the result is a [*HookError].
//
// COMMIT goes alone, in one more round trip, in the simple protocol, with a CommitQuery, if a query
// has a word like COMMIT in it, and on a db that is neither a pool nor a connection.
//
// With the ctx of a Run on the same db, or on a pgx.Tx, the batch is a savepoint of that
// transaction, and an error of a callback undoes it. batch is not changed, and may be used again.
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
	if _, isTx := db.(pgx.Tx); isTx || opts.Nesting == Required || findHandle(ctx, key) != nil {
		return RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
			return tx.SendBatch(ctx, batch).Close()
		})
	}
	opts.kind, opts.Eager = kindBatch, true
	return RunWith(ctx, db, opts, func(ctx context.Context, handle pgx.Tx) error {
		start := time.Now()
		root := handle.(*tx) //nolint:forcetypeassert // no other is given
		if err := root.sendAtomic(ctx, batch); err != nil {
			return phaseRun.in(start, fmt.Errorf("batch: %w", err))
		}
		return nil
	})
}

// commitAnswer is what came as the answer to a COMMIT that traveled with a batch.
type commitAnswer struct {
	err       error
	unwritten bool
}

// sendAtomic sends the batch, and COMMIT as its last query where that can travel. An error says
// that the transaction did not commit; after nil, commit judges the answer or sends COMMIT.
func (t *tx) sendAtomic(ctx context.Context, batch *pgx.Batch) error {
	if err := t.enter(); err != nil {
		return err
	}
	s, sent := t.session, copyOf(batch)
	// In the simple protocol a query may have several results, and what follows a COMMIT or
	// ROLLBACK of the batch's own would hide it.
	commits := s.raw == nil && s.opts.TxOptions.CommitQuery == "" && !s.isSimple(nil) &&
		!slices.ContainsFunc(batch.QueuedQueries, endsPerhaps)
	if commits {
		sent.Queue("commit")
	}
	b, err := s.sendBatch(ctx, batch, sent)
	if err != nil {
		return err
	}
	b.commits = commits
	dead := s.conn != nil && s.conn.IsClosed() // nothing was read yet: the write failed
	defer b.finish()                           // also if a callback panics
	if err = b.readAll(); err == nil && commits {
		var tag pgconn.CommandTag
		if tag, err = b.inner.Exec(); err == nil && tag.String() != "COMMIT" {
			err = pgx.ErrTxCommitRollback
		}
	}
	if b.finish(); err == nil {
		err = b.err
	}
	switch {
	case s.state == stateEnded:
		return ErrEnded
	case !commits:
		return err
	case err == nil:
		s.answer = &commitAnswer{}
		return nil
	case s.conn.IsClosed() && !errors.As(err, new(pgx.ErrPreprocessingBatch)):
		s.answer = &commitAnswer{err: err, unwritten: dead && pgconn.SafeToRetry(err)}
		return nil
	case !s.conn.IsClosed() && s.conn.PgConn().TxStatus() == 'I':
		s.answer = &commitAnswer{err: err} // COMMIT was refused
		return nil
	}
	s.observe(err)
	return err
}

// endsPerhaps reports whether a query may end a transaction. A single word may be the name of a
// prepared statement.
func endsPerhaps(q *pgx.QueuedQuery) bool {
	return mayEnd(q.SQL) || hasWord(q.SQL, "rollback") || hasWord(q.SQL, "abort") ||
		!strings.ContainsAny(strings.TrimSpace(q.SQL), " \t\r\n")
}

// readAll reads the results and calls the callbacks. What the server answered and what a callback
// made of it are told apart by the next result: after an error of the server there is none.
func (b *batchResults) readAll() error {
	for i, q := range b.batch.QueuedQueries {
		if q.Fn != nil && b.session.callback == nil {
			own := &ownResult{batchResults: b}
			b.session.callback = q.Fn(own)
			if own.rows != nil {
				own.rows.Close()
			}
		}
		if b.next == i {
			if _, err := b.Exec(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownResult is the result that a callback of Atomic can read, that of its query.
type ownResult struct {
	*batchResults
	rows pgx.Rows
	read bool
}

func (o *ownResult) take() error {
	if o.read {
		return errors.New("no more results in batch: a callback of Atomic reads the result of its own query")
	}
	o.read = true
	return nil
}

func (o *ownResult) Exec() (pgconn.CommandTag, error) {
	if err := o.take(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return o.batchResults.Exec()
}

func (o *ownResult) Query() (rows pgx.Rows, err error) {
	if err := o.take(); err != nil {
		return errRows{err: err}, err
	}
	inner, err := o.batchResults.Query()
	o.rows = &ownRows{Rows: inner}
	return o.rows, err
}

func (o *ownResult) QueryRow() pgx.Row {
	rows, _ := o.Query()
	return plainRow{rows}
}

// Close does nothing: Atomic reads the rest.
func (o *ownResult) Close() error { return nil }

// ownRows keep an error of Scan from pgx, whose results end with it: the answer to COMMIT could not
// be read.
type ownRows struct {
	pgx.Rows
	err error
}

func (r *ownRows) Scan(dest ...any) (err error) {
	if len(dest) == 1 {
		if scanner, ok := dest[0].(pgx.RowScanner); ok {
			return r.keep(scanner.ScanRow(r))
		}
	}
	return r.keep(pgx.ScanRow(r.Conn().TypeMap(), r.FieldDescriptions(), r.RawValues(), dest...))
}

func (r *ownRows) keep(err error) error {
	if err != nil {
		r.err = err
		r.Close()
	}
	return err
}

func (r *ownRows) Next() bool { return r.err == nil && r.Rows.Next() }

func (r *ownRows) Err() error { return cmpError(r.err, r.Rows.Err()) }

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
