package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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
	opts.batch = true
	return RunWith(ctx, db, opts, func(ctx context.Context, tx pgx.Tx) error {
		start := time.Now()
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return phaseRun.in(start, fmt.Errorf("batch: %w", err))
		}
		return nil
	})
}
