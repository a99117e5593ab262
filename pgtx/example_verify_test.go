package pgtx_test

import (
	"context"
	"errors"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleOptions_verifyCommit() {
	withdraw := func(ctx context.Context, pool *pgxpool.Pool, id, amount int) error {
		err := pgtx.RunWith(ctx, pool, pgtx.Options{VerifyCommit: true}, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update accounts set balance = balance - $2 where id = $1`, id, amount)
			return err
		})
		var unknown *pgtx.CommitUnknownError
		if errors.As(err, &unknown) {
			// Rare: the server was restarted or replaced just then, or cannot be reached. What is needed to ask again
			// later, also from another process, is plain text.
			log.Printf("withdrawal from %d: unknown outcome of transaction %s of server %q", id, unknown.XID, unknown.Server)
		}
		return err
	}
	_ = withdraw
}

func ExampleOptions_idempotencyKey() {
	// pay answers a request that is sent again with what it answered the first time.
	pay := func(ctx context.Context, pool *pgxpool.Pool, requestID string, amount int) (paymentID int, err error) {
		opts := pgtx.Options{IdempotencyKey: "payment:" + requestID}
		return pgtx.ValueWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) (id int, err error) {
			err = tx.QueryRow(ctx, `insert into payments (amount) values ($1) returning id`, amount).Scan(&id)
			return id, err
		})
	}
	_ = pay
}

func ExampleCommitUnknownError_Resolve() {
	// settle asks again what became of a transaction that another process has noted.
	settle := func(ctx context.Context, pool *pgxpool.Pool, xid, server string) (committed bool, err error) {
		noted := &pgtx.CommitUnknownError{XID: xid, Server: server}
		return noted.Resolve(ctx, pool)
	}
	_ = settle
}
