package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgquery"

	"github.com/page-builder/persistence/examples/shop/db"
)

// pollEvery is the interval of a look for payments that failed before or had a lost notification.
const pollEvery = 10 * time.Second

type sale struct {
	PaymentID int64
	Day       time.Time
	Amount    int64
}

// sales writes a payment once, although it may be reported again after a crash.
var sales = pgquery.Insert[sale, struct{ PaymentID int64 }]{
	Name:      "sales",
	Table:     "public.sales",
	Columns:   `payment_id bigint, day date, amount bigint`,
	Conflict:  `(payment_id) do nothing`,
	Returning: `payment_id`,
}

// reportPayments copies payments to the analytics database: after each notification, after each
// connect of the listener, and every ten seconds. It ends with ctx, or when the returned function
// is called.
func reportPayments(
	ctx context.Context, pool, analytics *pgxpool.Pool, listener *listen.Listener,
) (stop func(), err error) {
	woken := make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default: // it is awake
		}
	}
	err = listener.Handle("payments",
		func(context.Context, *pgconn.Notification) error { wake(); return nil },
		func(context.Context, *pgx.Conn) error { wake(); return nil })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { _ = listener.Listen(ctx) })
	working.Go(func() {
		for ctx.Err() == nil {
			more, err := reportOnce(ctx, pool, analytics)
			if err != nil && ctx.Err() == nil {
				slog.ErrorContext(ctx, "payments were not reported", "error", err)
			}
			if more {
				continue
			}
			select {
			case <-ctx.Done():
			case <-woken:
			case <-time.After(pollEvery):
			}
		}
	})
	return func() { cancel(); working.Wait() }, nil
}

// reportOnce copies up to a hundred payments. It reports whether there may be more.
func reportOnce(ctx context.Context, pool, analytics *pgxpool.Pool) (more bool, err error) {
	payments, err := db.New(pool).UnreportedPayments(ctx)
	if err != nil || len(payments) == 0 {
		return false, err
	}
	var rows []sale
	var ids []int64
	for _, p := range payments {
		rows = append(rows, sale{PaymentID: p.ID, Day: p.PaidAt.UTC(), Amount: p.Amount})
		ids = append(ids, p.ID)
	}
	if _, err := sales.Apply(ctx, analytics, rows); err != nil {
		return false, err
	}
	return true, db.New(pool).MarkReported(ctx, ids)
}

func salesByDay(ctx context.Context, analytics *pgxpool.Pool) (any, error) {
	rows, _ := analytics.Query(ctx, "select day::text, sum(amount)::bigint as amount from public.sales group by day")
	return pgx.CollectRows(rows, pgx.RowToMap) // it has the error of Query, too
}
