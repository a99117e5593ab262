// Package pgtx runs a function in a PostgreSQL transaction that commits at most once.
//
//	err := pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
//		_, err := tx.Exec(ctx, `update accounts set balance = balance - 10 where id = $1`, id)
//		return err
//	})
//
// The function may run more than once: after a serialization failure, a deadlock or a connection
// lost before COMMIT was sent, Run rolls back, waits and calls it again. Its effects in the
// database happen at most once; effects elsewhere (an e-mail, a variable outside) happen once per
// call, so keep them out of the function.
//
// On a pool no connection is taken and nothing is sent until the first statement, which carries
// BEGIN in the same flush.
//
// A connection that breaks after COMMIT was sent leaves an outcome nobody can see from the client.
// Run never repeats such a transaction and returns a [*CommitUnknownError]. With
// [Options.VerifyCommit] it asks the server what became of it, and [Options.IdempotencyKey] makes
// the answer certain across failovers too.
//
// A Run inside the function of another, on the same database and with the context the function was
// given, is a savepoint of that transaction.
//
// An error of the function comes back as it is. Those that Run meets itself are in a [*PhaseError]:
// a [*RetryError] when the attempts are used up, a [*SwallowedError] when the function overlooked a
// failed statement, and the others that Run lists. All functions are safe for concurrent use if db
// is; a transaction is for one goroutine at a time.
package pgtx

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DB is what a transaction can be started on: [*pgxpool.Pool], [*pgxpool.Conn], [*pgx.Conn], or a
// [pgx.Tx], on which Run opens a savepoint instead.
//
// Methods beyond these four are found by assertion. With Acquire, as *pgxpool.Pool has it, a
// transaction begins with its first statement and on the connection that Acquire returns; without,
// BEGIN is a round trip of its own. Without BeginTx, a transaction with TxOptions is refused. A DB
// that wraps a pgx.Tx and hides its Commit and Rollback cannot be told from a pool: Run then takes
// the savepoint its Begin opens for a whole transaction and may repeat it. Pass the pgx.Tx itself.
//
// The value identifies the database when Run calls are nested, so it must be comparable: pass a
// pointer.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
