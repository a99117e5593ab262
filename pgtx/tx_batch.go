package pgtx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Atomic sends batch as one transaction, in three round trips: BEGIN with its limits and settings,
// the queries, and COMMIT. All of its queries take effect, or none. It is repeated like the
// function of [Run], and an empty batch does nothing.
//
// Callbacks queued with the batch are called when their results arrive, and again in a repetition.
// An error of a callback rolls the transaction back.
//
// With the ctx of a Run on the same db, or on a pgx.Tx, the batch is a savepoint of that
// transaction. batch is not changed, and may be used again.
func Atomic(ctx context.Context, db DB, opts Options, batch *pgx.Batch) error {
	switch {
	case batch == nil:
		return refused(errors.New("batch: the batch is nil"))
	case begins(batch):
		return refused(errors.New("batch: it begins a transaction itself: remove its BeginTx and pass TxOptions"))
	case batch.Len() == 0:
		return nil
	}
	opts.kind = kindBatch
	return RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
		start := time.Now()
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return phaseRun.in(start, fmt.Errorf("batch: %w", err))
		}
		return nil
	})
}

// batchResults occupy the session until they are closed. They call the callbacks of the batch
// themselves, so that a callback that panics leaves the connection in order.
type batchResults struct {
	gate  *gate
	conn  *pgx.Conn
	inner pgx.BatchResults
	batch *pgx.Batch
	next  int     // the query whose result is read next
	seen  answers // to all queries
	err   error

	closing, done bool
}

func (b *batchResults) Exec() (tag pgconn.CommandTag, err error) {
	if b.done {
		return tag, b.closedError()
	}
	err = b.gate.resume(func(s *session) error {
		b.next++
		tag, err = b.inner.Exec()
		b.see(s, tag)
		return err
	})
	return tag, err
}

func (b *batchResults) Query() (pgx.Rows, error) {
	r := &rows{}
	err := b.query(r)
	return r, err
}

func (b *batchResults) QueryRow() pgx.Row {
	r := &row{}
	_ = b.query(&r.rows) // Scan returns it
	return r
}

func (b *batchResults) query(r *rows) error {
	r.conn = b.conn
	err := b.closedError()
	if !b.done {
		err = b.gate.resume(func(*session) (err error) {
			b.next++
			r.gate, r.batch = b.gate, b
			r.Rows, err = b.inner.Query()
			return err
		})
	}
	if err != nil {
		r.fail(err)
	}
	return err
}

// closedError returns what pgx returns after Close.
func (b *batchResults) closedError() error {
	return cmp.Or(b.err, errors.New("batch already closed"))
}

// see marks a transaction that a query of the batch ended. The connection's status is not known
// before the batch is closed.
func (b *batchResults) see(s *session, tag pgconn.CommandTag) {
	b.seen.add(tag)
	if b.seen.committed || b.seen.rolledBack && b.seen.end(b.text(s)) {
		s.endByFunction()
	}
}

// text returns the texts of all queries.
func (b *batchResults) text(s *session) string {
	var all strings.Builder
	for _, q := range b.batch.QueuedQueries {
		sql := q.SQL
		if text, ok := s.prepared[sql]; ok {
			sql = text
		}
		all.WriteString(sql + "\n;")
	}
	return all.String()
}

// Close calls the callbacks of the queries whose results were not read, as pgx does. A callback
// that reads nothing is called once; pgx would call it forever.
func (b *batchResults) Close() error {
	if b.closing || b.done { // closing: a callback calls Close
		return b.err
	}
	b.closing = true
	defer b.finish() // also if a callback panics
	for b.err == nil && b.next < len(b.batch.QueuedQueries) {
		before, call := b.next, b.batch.QueuedQueries[b.next].Fn
		if call != nil {
			b.err = call(b)
		}
		if b.err == nil && b.next == before {
			_, b.err = b.Exec()
		}
	}
	b.finish()
	return b.err
}

func (b *batchResults) finish() {
	if b.done {
		return
	}
	b.done = true
	err := b.gate.resume(func(s *session) error {
		defer func() { s.reading = false }()
		several := func(q *pgx.QueuedQuery) bool { return hasSeveral(q.SQL) }
		if b.err == nil && s.isSimple(nil) && slices.ContainsFunc(b.batch.QueuedQueries, several) {
			// In the simple protocol a query may be several statements, each with an answer.
			for tag, err := b.inner.Exec(); err == nil; tag, err = b.inner.Exec() {
				b.see(s, tag)
			}
		}
		err := b.inner.Close()
		text := ""
		if err != nil || b.err != nil || b.seen.rolledBack || s.opts.TxOptions.AccessMode == pgx.ReadOnly {
			text = b.text(s)
		}
		s.observeStatement(text, b.seen, cmp.Or(err, b.err))
		return err
	})
	b.err = cmp.Or(b.err, err)
}

// Tx returns nil: a batch that begins a transaction is refused inside one.
func (b *batchResults) Tx() pgx.Tx { return nil }
