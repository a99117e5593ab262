package pgtx

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Value is [Run] for a function with a result. On an error the result is T's zero value.
func Value[T any](ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) (T, error)) (T, error) {
	return ValueWith(ctx, db, Options{}, fn)
}

// ValueWith is [RunWith] for a function with a result. On an error the result is T's zero value.
// With an IdempotencyKey the result is stored as JSON, so that T has to survive that.
func ValueWith[T any](ctx context.Context, db DB, opts Options, fn func(ctx context.Context, tx pgx.Tx) (T, error)) (T, error) {
	var result T
	if fn == nil {
		return result, RunWith(ctx, db, opts, nil)
	}
	opts, run := replayed(opts, &result, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		result, err = fn(ctx, tx)
		return err
	})
	err := RunWith(ctx, db, opts, run)
	if err != nil {
		// The value of an attempt that was rolled back describes a state that never was.
		var zero T
		return zero, err
	}
	return result, nil
}
