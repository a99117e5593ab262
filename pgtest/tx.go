package pgtest

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Tx makes a database like [New] and returns one transaction in it, which is rolled back when the
// test ends: for code that takes a transaction, or anything with Begin, Exec, Query and QueryRow.
// Begin on it sets a savepoint. A failure fails the test.
//
// The database is the test's own, so no other test waits for the locks that the transaction holds.
// A pgx.Tx is one connection: it is not for concurrent use.
func Tx(t TB, opts ...Option) pgx.Tx {
	t.Helper()
	o := newOptions(opts)
	cfg := openConfig(t, o)
	if cfg == nil {
		return nil
	}
	conn, err := pgx.ConnectConfig(t.Context(), cfg.ConnConfig)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
		return nil
	}
	t.Cleanup(func() {
		// t.Context has ended. Closing rolls back.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), closeLimit)
		defer cancel()
		conn.Close(ctx)
	})
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatalf("pgtest: begin: %v", err)
		return nil
	}
	return tx
}

// closeLimit is how long a test's end waits for connections that the test gave out. A second is
// long for a goroutine that is about to release one, and short for a test run.
const closeLimit = time.Second
