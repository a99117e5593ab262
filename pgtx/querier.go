package pgtx

import "context"

// Querier returns the transaction that a Run on db has put into ctx, innermost first, or db itself
// if there is none. A repository that runs its statements on it works alone and inside a
// transaction, with one version of each method. As with [From], a ctx that outlived its Run gives a
// handle whose every use is [ErrTxClosed], never the pool.
func Querier(ctx context.Context, db DB) DB {
	if tx, ok := From(ctx, db); ok {
		return tx
	}
	return db
}
