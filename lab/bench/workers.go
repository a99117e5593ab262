package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/pgtx"
)

// workers compares transactions of one statement that run at the same time, each on a row of its
// own.
func workers(ctx context.Context, r *report, url string, rounds int) error {
	pool, err := configured(ctx, url, func(c *pgxpool.Config) { c.MaxConns = 8 })
	if err != nil {
		return err
	}
	defer pool.Close()
	const transactions = 128
	for _, n := range []int{1, 8, 64} {
		title := fmt.Sprintf("%d transactions with one statement, loopback, %d at a time on 8 connections",
			transactions, n)
		err := compare(ctx, r, title, rounds, 1,
			side{"pgx.BeginFunc", inParallel(n, transactions, func(ctx context.Context, id int) error {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return updateRow(ctx, tx, id) })
			})},
			side{"pgtx.Run", inParallel(n, transactions, func(ctx context.Context, id int) error {
				return pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error { return updateRow(ctx, tx, id) })
			})},
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// inParallel is an operation that consists of count others, run by n workers with the ids 1 to n.
func inParallel(n, count int, op func(ctx context.Context, id int) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for id := range n {
			group.Go(func() error {
				for range count / n {
					if err := op(ctx, id+1); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return group.Wait()
	}
}

func updateRow(ctx context.Context, tx pgx.Tx, id int) error {
	_, err := tx.Exec(ctx, increment, id)
	return err
}
