package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleCommitUnknownError() {
	report := func(err error) string {
		var unknown *pgtx.CommitUnknownError
		switch {
		case err == nil:
			return "committed"
		case errors.As(err, &unknown):
			return "look for the effects before running it again"
		default:
			return "rolled back"
		}
	}
	fmt.Println(report(nil))
	fmt.Println(report(&pgtx.CommitUnknownError{Err: errors.New("unexpected EOF")}))
	// Output:
	// committed
	// look for the effects before running it again
}

// The pool was full for AcquireTimeout: shed load.
func ExamplePhaseError() {
	pool, end := openPages()
	defer end()
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		defer conn.Release()
	}

	opts := pgtx.Options{AcquireTimeout: 20 * time.Millisecond}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update pages set published = true`)
		return err
	})
	var failed *pgtx.PhaseError
	if errors.As(err, &failed) && failed.Phase == "acquire" {
		fmt.Println(503, errors.Is(err, pgtx.ErrAcquireTimeout))
	}
	fmt.Println(err)
	// Output:
	// 503 true
	// acquire: no connection within AcquireTimeout: context deadline exceeded (20ms)
}

// A conflict that outlasts all attempts. Here a trigger makes it; usually other transactions do.
func ExampleRetryError() {
	pool, end := openPages()
	defer end()

	err := pgtx.RunWith(context.Background(), pool, pgtx.Options{MaxAttempts: 2},
		func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `do $$ begin raise serialization_failure; end $$`)
			return err
		})
	var gaveUp *pgtx.RetryError
	if errors.As(err, &gaveUp) {
		fmt.Println(gaveUp.Attempts, pgerr.Of(err))
	}
	// Output: 2 serialization
}

// A function that overlooks the error of a statement does not get a commit.
func ExampleSwallowedError() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, `update pages set title = 'About' where id = 1`)
		return nil
	})
	var swallowed *pgtx.SwallowedError
	var first *pgconn.PgError
	if errors.As(err, &swallowed) && errors.As(swallowed.First, &first) {
		fmt.Println(first.ConstraintName, pgerr.Of(err))
	}
	// Output: pages_title_key constraint
}

// ErrTimeout is also the cause of the end of the function's ctx.
func ExampleOptions_timeout() {
	pool, end := openPages()
	defer end()

	opts := pgtx.Options{Timeout: 20 * time.Millisecond}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, _ pgx.Tx) error {
		<-ctx.Done() // a slow template
		return context.Cause(ctx)
	})
	fmt.Println(errors.Is(err, pgtx.ErrTimeout), err)
	// Output: true transaction: Timeout exceeded: context deadline exceeded
}

// A transaction commits when its function returns, and is of no use afterwards.
func ExampleRun_misuse() {
	pool, end := openPages()
	defer end()

	var escaped pgx.Tx
	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		escaped = tx
		fmt.Println(errors.Is(tx.Commit(ctx), pgtx.ErrManaged))
		return nil
	})
	_, late := escaped.Exec(context.Background(), `delete from pages`)
	fmt.Println(err, errors.Is(late, pgtx.ErrTxClosed))
	// Output:
	// true
	// <nil> true
}
