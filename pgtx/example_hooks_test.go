package pgtx_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// What must happen only once the page is published, such as purging a cache, waits for the commit.
func ExampleAfterCommit() {
	pool, end := openPages()
	defer end()

	purge := func(context.Context) error { fmt.Println("purged"); return nil }
	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := pgtx.AfterCommit(ctx, pool, purge); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update pages set published = true where id = 1`)
		fmt.Println("updated")
		return err
	})
	fmt.Println(err)
	// Output:
	// updated
	// purged
	// <nil>
}

// A rule about the whole transaction is checked before COMMIT, whichever function broke it.
func ExampleBeforeCommit() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		err := pgtx.BeforeCommit(ctx, pool, func(ctx context.Context) error {
			var left int
			err := pgtx.Querier(ctx, pool).QueryRow(ctx, `select count(*) from pages`).Scan(&left)
			if err == nil && left == 0 {
				err = errors.New("a site has at least one page")
			}
			return err
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `delete from pages`)
		return err
	})
	fmt.Println(titles(pool), err)
	// Output: Home, About a site has at least one page
}

// A file that was uploaded for the page goes if the page does not come.
func ExampleAfterRollback() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		remove := func(context.Context) error { fmt.Println("removed hero.jpg"); return nil }
		if err := pgtx.AfterRollback(ctx, pool, remove); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into pages values (3, 'Home')`)
		return err
	})
	fmt.Println(err != nil, titles(pool))
	// Output:
	// removed hero.jpg
	// true Home, About
}

// The transaction is committed; what was to follow failed. It is not to be repeated.
func ExampleHookError() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update pages set title = 'Welcome' where id = 1`)
		return errors.Join(err, pgtx.AfterCommit(ctx, pool, func(context.Context) error {
			return errors.New("the cache does not answer")
		}))
	})
	var hook *pgtx.HookError
	if errors.As(err, &hook) {
		fmt.Println(titles(pool), "but", hook.Err)
	}
	// Output: Welcome, About but the cache does not answer
}
