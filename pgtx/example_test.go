package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleRun() {
	transfer := func(ctx context.Context, pool *pgxpool.Pool, from, to, amount int) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			const move = `update accounts set balance = balance + $2 where id = $1`
			if _, err := tx.Exec(ctx, move, from, -amount); err != nil {
				return fmt.Errorf("take from %d: %w", from, err)
			}
			if _, err := tx.Exec(ctx, move, to, amount); err != nil {
				return fmt.Errorf("give to %d: %w", to, err)
			}
			return nil // commit
		})
	}
	_ = transfer
}

func ExampleRunWith() {
	withdraw := func(ctx context.Context, pool *pgxpool.Pool, id, amount int) error {
		opts := pgtx.Options{
			TxOptions:   pgx.TxOptions{IsoLevel: pgx.Serializable},
			MaxAttempts: 10,
		}
		return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			var balance int
			if err := tx.QueryRow(ctx, `select balance from accounts where id = $1`, id).Scan(&balance); err != nil {
				return err
			}
			if balance < amount {
				return errors.New("not enough money") // roll back; never retried
			}
			_, err := tx.Exec(ctx, `update accounts set balance = $2 where id = $1`, id, balance-amount)
			return err
		})
	}
	_ = withdraw
}

func ExampleRun_nested() {
	// addPage works alone and inside a larger transaction: there it is a savepoint.
	addPage := func(ctx context.Context, pool *pgxpool.Pool, title string) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `insert into pages (title) values ($1)`, title)
			return err
		})
	}
	importSite := func(ctx context.Context, pool *pgxpool.Pool, titles []string) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, _ pgx.Tx) error {
			for _, title := range titles {
				if err := addPage(ctx, pool, title); err != nil {
					continue // this page is undone, the others stay
				}
			}
			return nil
		})
	}
	_ = importSite
}

func ExampleValue() {
	count := func(ctx context.Context, pool *pgxpool.Pool) (int, error) {
		return pgtx.Value(ctx, pool, func(ctx context.Context, tx pgx.Tx) (int, error) {
			rows, err := tx.Query(ctx, `delete from sessions where expires_at < now() returning id`)
			if err != nil {
				return 0, err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			return len(ids), err
		})
	}
	_ = count
}

func ExampleAtomic() {
	transfer := func(ctx context.Context, pool *pgxpool.Pool, from, to, amount int) error {
		const move = `update accounts set balance = balance + $2 where id = $1`
		batch := &pgx.Batch{}
		batch.Queue(move, from, -amount)
		batch.Queue(move, to, amount)
		return pgtx.Atomic(ctx, pool, pgtx.Options{}, batch) // one round trip
	}
	_ = transfer
}

func ExampleAfterCommit() {
	publish := func(ctx context.Context, pool *pgxpool.Pool, id int, invalidate func(context.Context, int) error) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `update pages set published = true where id = $1`, id); err != nil {
				return err
			}
			// Called once, when it is certain that the page is published.
			return pgtx.AfterCommit(ctx, pool, func(ctx context.Context) error { return invalidate(ctx, id) })
		})
	}
	_ = publish
}

func ExampleLock() {
	rebuild := func(ctx context.Context, pool *pgxpool.Pool, site string) error {
		return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			// One rebuild of a site at a time; BEGIN and the lock are one round trip.
			if err := pgtx.Lock(ctx, tx, pgtx.LockOptions{Timeout: 5 * time.Second}, pgtx.KeyOf("rebuild", site)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `select rebuild($1)`, site)
			return err
		})
	}
	_ = rebuild
}

func ExampleQuerier() {
	// rename works alone, and in the transaction it is called in if there is one.
	rename := func(ctx context.Context, pool *pgxpool.Pool, id int, title string) error {
		_, err := pgtx.Querier(ctx, pool).Exec(ctx, `update pages set title = $2 where id = $1`, id, title)
		return err
	}
	_ = rename
}

func ExampleFrom() {
	// A function deep inside uses the transaction it is called in, if there is one.
	touch := func(ctx context.Context, pool *pgxpool.Pool, id int) error {
		var db pgtx.DB = pool
		if tx, ok := pgtx.From(ctx, pool); ok {
			db = tx
		}
		_, err := db.Exec(ctx, `update pages set touched_at = now() where id = $1`, id)
		return err
	}
	_ = touch
}

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

func ExampleLogTo() {
	opts := pgtx.Options{Name: "publish", Observe: pgtx.LogTo(slog.Default())}
	publish := func(ctx context.Context, pool *pgxpool.Pool, id int) error {
		return pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update pages set published = true where id = $1`, id)
			return err
		})
	}
	_ = publish
}

func ExampleReport() {
	// The counters stand for those of a metrics library.
	var attempts, transactions, seconds func(labels ...string) func(float64)
	opts := pgtx.Options{Name: "publish", Observe: func(_ context.Context, r pgtx.Report) {
		attempts(r.Name, string(r.Outcome))(1)
		if !r.Again {
			transactions(r.Name, string(r.Outcome))(1)
			seconds(r.Name)(r.Elapsed.Seconds())
		}
	}}
	_ = opts
}

func ExamplePhaseError() {
	status := func(err error) int {
		var failed *pgtx.PhaseError
		if errors.As(err, &failed) && failed.Phase == pgtx.PhaseAcquire {
			return 503 // the pool is exhausted: shed load
		}
		return 500
	}
	fmt.Println(status(&pgtx.PhaseError{Phase: pgtx.PhaseAcquire, After: time.Second, Err: pgtx.ErrAcquireTimeout}))
	// Output: 503
}
