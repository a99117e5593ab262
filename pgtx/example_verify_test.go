package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleOptions_verifyCommit() {
	pool, end := openPages()
	defer end()

	err := pgtx.RunWith(context.Background(), pool, pgtx.Options{VerifyCommit: true},
		func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `update pages set published = true where id = 1`)
			return err
		})
	var unknown *pgtx.CommitUnknownError
	if errors.As(err, &unknown) {
		// Rare: the server was restarted or replaced just then, or cannot be reached. What is
		// needed to ask again later, also from another process, is plain text.
		log.Printf("publish: unknown outcome of transaction %s of server %q", unknown.XID, unknown.Server)
	}
	fmt.Println(err)
	// Output: <nil>
}

// A request that is sent again is answered with what it was answered the first time.
func ExampleOptions_idempotencyKey() {
	pool, end := openPages()
	defer end()
	if _, err := pool.Exec(context.Background(), pgtx.IdempotencyTableSQL); err != nil { // in a migration
		log.Print(err)
		return
	}

	order := func(ctx context.Context, requestID, title string) (page int, err error) {
		opts := pgtx.Options{IdempotencyKey: "page:" + requestID}
		return pgtx.ValueWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) (id int, err error) {
			err = tx.QueryRow(ctx, `insert into pages select max(id) + 1, $1 from pages returning id`, title).Scan(&id)
			return id, err
		})
	}
	for range 2 {
		page, err := order(context.Background(), "1f7c", "Contact")
		fmt.Println(page, err, titles(pool))
	}
	// Output:
	// 3 <nil> Home, About, Contact
	// 3 <nil> Home, About, Contact
}

// Another process asks what became of a transaction whose connection broke in COMMIT. It has its id
// and server, or its key, as text.
func ExampleCommitUnknownError_Resolve() {
	pool, end := openPages()
	defer end()
	if _, err := pool.Exec(context.Background(), pgtx.IdempotencyTableSQL); err != nil {
		log.Print(err)
		return
	}
	opts := pgtx.Options{IdempotencyKey: "publish:1"}
	if err := pgtx.RunWith(context.Background(), pool, opts, func(context.Context, pgx.Tx) error {
		return nil
	}); err != nil {
		log.Print(err)
		return
	}

	for _, key := range []string{"publish:1", "publish:2"} {
		noted := &pgtx.CommitUnknownError{Key: key}
		committed, err := noted.Resolve(context.Background(), pool)
		fmt.Println(key, committed, err)
	}
	// Output:
	// publish:1 true <nil>
	// publish:2 false <nil>
}
