package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleRun() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into revisions select id, title from pages where id = 1`); err != nil {
			return fmt.Errorf("keep revision: %w", err)
		}
		if _, err := tx.Exec(ctx, `update pages set title = 'Welcome' where id = 1`); err != nil {
			return fmt.Errorf("rename: %w", err)
		}
		return nil // commit
	})
	fmt.Println(titles(pool), err)
	// Output: Welcome, About <nil>
}

// An error of the function's own rolls back and comes back as it is.
func ExampleRunWith() {
	pool, end := openPages()
	defer end()

	opts := pgtx.Options{
		TxOptions:        pgx.TxOptions{IsoLevel: pgx.Serializable},
		Timeout:          30 * time.Second, // of the whole call, and
		StatementTimeout: 5 * time.Second,  // of each statement, kept by the server
		MaxAttempts:      10,
	}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from pages where id = 1`); err != nil {
			return err
		}
		var left int
		if err := tx.QueryRow(ctx, `select count(*) from pages`).Scan(&left); err != nil {
			return err
		}
		if left < 2 {
			return errors.New("a site has two pages at least")
		}
		return nil
	})
	fmt.Println(titles(pool), err)
	// Output: Home, About a site has two pages at least
}

func ExampleRun_nested() {
	pool, end := openPages()
	defer end()

	// addPage works alone and inside a larger transaction: there it is a savepoint.
	addPage := func(ctx context.Context, id int, title string) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `insert into pages (id, title) values ($1, $2)`, id, title)
			return err
		})
	}
	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, _ pgx.Tx) error {
		for i, title := range []string{"Team", "Home", "Contact"} {
			if err := addPage(ctx, 3+i, title); err != nil {
				continue // there is a page of that title; this one is undone, the others stay
			}
		}
		return nil
	})
	fmt.Println(titles(pool), err)
	// Output: Home, About, Team, Contact <nil>
}

func ExampleValue() {
	pool, end := openPages()
	defer end()

	published, err := pgtx.Value(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) ([]string, error) {
		rows, err := tx.Query(ctx, `update pages set published = true where not published returning title`)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	})
	fmt.Println(published, err)
	// Output: [Home About] <nil>
}

func ExampleAtomic() {
	pool, end := openPages()
	defer end()

	batch := &pgx.Batch{}
	batch.Queue(`insert into revisions select id, title from pages where id = $1`, 2)
	batch.Queue(`update pages set title = $2 where id = $1`, 2, "Team")
	err := pgtx.Atomic(context.Background(), pool, pgtx.Options{}, batch)
	fmt.Println(titles(pool), err)
	// Output: Home, Team <nil>
}

// A function deep inside uses the transaction it is called in, if there is one.
func ExampleQuerier() {
	pool, end := openPages()
	defer end()

	rename := func(ctx context.Context, id int, title string) error {
		_, err := pgtx.Querier(ctx, pool).Exec(ctx, `update pages set title = $2 where id = $1`, id, title)
		return err
	}
	fmt.Println(rename(context.Background(), 1, "Welcome")) // alone: committed
	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, _ pgx.Tx) error {
		return errors.Join(rename(ctx, 2, "Team"), errors.New("not today"))
	})
	fmt.Println(titles(pool), err)
	// Output:
	// <nil>
	// Welcome, About not today
}

func ExampleFrom() {
	pool, end := openPages()
	defer end()

	audit := func(ctx context.Context) error {
		tx, ok := pgtx.From(ctx, pool)
		if !ok {
			return errors.New("call it in a transaction")
		}
		_, err := tx.Exec(ctx, `insert into revisions select id, title from pages`)
		return err
	}
	fmt.Println(audit(context.Background()))
	fmt.Println(pgtx.Run(context.Background(), pool, func(ctx context.Context, _ pgx.Tx) error { return audit(ctx) }))
	// Output:
	// call it in a transaction
	// <nil>
}

// Attempt tells a second call from the first, here after the error that RetryIf asks to repeat.
func ExampleAttempt() {
	pool, end := openPages()
	defer end()

	opts := pgtx.Options{RetryIf: func(err error, retryable bool) bool { return retryable || errors.Is(err, errTaken) }}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		title := fmt.Sprintf("Home %d", pgtx.Attempt(ctx))
		if pgtx.Attempt(ctx) == 1 {
			title = "Home"
		}
		tag, err := tx.Exec(ctx, `insert into pages values (3, $1) on conflict do nothing`, title)
		if err == nil && tag.RowsAffected() == 0 {
			err = errTaken
		}
		return err
	})
	fmt.Println(titles(pool), err)
	// Output: Home, About, Home 2 <nil>
}

var errTaken = errors.New("that title is taken")

// One rebuild of a site at a time: BEGIN and the lock are one round trip, and the lock ends with
// the transaction.
func ExampleLock() {
	pool, end := openPages()
	defer end()

	publish := func(ctx context.Context, site string) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := pgtx.Lock(ctx, tx, pgtx.LockOptions{Timeout: 5 * time.Second},
				pgtx.KeyOf("publish", site)); err != nil {
				return err // errors.Is(err, pgtx.ErrLockTimeout): somebody else takes long
			}
			_, err := tx.Exec(ctx, `update pages set published = true`)
			return err
		})
	}
	fmt.Println(publish(context.Background(), "fernhill"))
	// Output: <nil>
}

// A job that every instance starts, and one does.
func ExampleTryLock() {
	pool, end := openPages()
	defer end()

	job := func(ctx context.Context, work func(context.Context, pgx.Tx) error) error {
		return pgtx.RunWith(ctx, pool, pgtx.Options{Nesting: pgtx.Separate},
			func(ctx context.Context, tx pgx.Tx) error {
				free, err := pgtx.TryLock(ctx, tx, pgtx.LockOptions{}, pgtx.KeyOf("jobs", "forget drafts"))
				if err != nil || !free {
					fmt.Println("left to another instance:", !free)
					return err
				}
				return work(ctx, tx)
			})
	}
	err := job(context.Background(), func(ctx context.Context, _ pgx.Tx) error {
		fmt.Println("at work")
		return job(ctx, nil) // as another instance would, which is not in this transaction: Separate
	})
	fmt.Println(err)
	// Output:
	// at work
	// left to another instance: true
	// <nil>
}

// Join keeps no savepoint: what fails inside takes everything with it, even if the function around
// it goes on.
func ExampleNesting() {
	pool, end := openPages()
	defer end()

	err := pgtx.Run(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update pages set title = 'Welcome' where id = 1`); err != nil {
			return err
		}
		_ = pgtx.RunWith(ctx, pool, pgtx.Options{Nesting: pgtx.Join}, func(context.Context, pgx.Tx) error {
			return errors.New("no quota for another page")
		})
		return nil
	})
	fmt.Println(titles(pool), err)

	required := pgtx.Options{Nesting: pgtx.Required}
	err = pgtx.RunWith(context.Background(), pool, required, func(context.Context, pgx.Tx) error { return nil })
	fmt.Println(errors.Is(err, pgtx.ErrNoTransaction))
	// Output:
	// Home, About commit: rolled back, because a nested transaction failed and cannot be undone alone: no quota for another page
	// true
}
