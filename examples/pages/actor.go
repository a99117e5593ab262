package pages

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtx"
)

// runAsActor runs fn in a transaction with the actor for the audit trail. The setting travels with
// BEGIN. Inside another transaction, which has begun already, it takes a statement.
func runAsActor[T any](
	ctx context.Context,
	conn pgtx.DB,
	actor string,
	fn func(context.Context, pgx.Tx) (T, error),
) (T, error) {
	_, isTx := conn.(pgx.Tx)
	if _, inside := pgtx.From(ctx, conn); inside || isTx {
		return pgtx.Value(ctx, conn, func(ctx context.Context, tx pgx.Tx) (T, error) {
			if err := db.New(tx).SetActor(ctx, actor); err != nil {
				var none T
				return none, fmt.Errorf("set actor: %w", err)
			}
			return fn(ctx, tx)
		})
	}
	opts := pgtx.Options{Settings: map[string]string{"app.actor": actor}}
	return pgtx.ValueWith(ctx, conn, opts, fn)
}
