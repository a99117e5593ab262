package pgtx_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

func ExampleLogTo() {
	pool, end := openPages()
	defer end()

	steady := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Value.Kind() == slog.KindDuration {
			return slog.Attr{} // differ from run to run
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout,
		&slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: steady}))
	opts := pgtx.Options{Name: "publish", Observe: pgtx.LogTo(logger)}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update pages set published = true`)
		return err
	})
	fmt.Println(err)
	// Output:
	// level=DEBUG msg="transaction committed" name=publish attempt=1 outcome=committed
	// <nil>
}

// What a metrics library would count: attempts, and transactions by their outcome.
func ExampleReport() {
	pool, end := openPages()
	defer end()

	attempts, transactions := 0, map[pgtx.Outcome]int{}
	opts := pgtx.Options{Name: "publish", Observe: func(_ context.Context, r pgtx.Report) {
		attempts++
		if !r.Again {
			transactions[r.Outcome]++ // and r.Elapsed into a histogram
		}
	}}
	err := pgtx.RunWith(context.Background(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		if pgtx.Attempt(ctx) == 1 {
			_, err := tx.Exec(ctx, `do $$ begin raise serialization_failure; end $$`)
			return err
		}
		_, err := tx.Exec(ctx, `update pages set published = true`)
		return err
	})
	fmt.Println(attempts, transactions, err)
	// Output: 2 map[committed:1] <nil>
}
