package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtx"
)

// transactions compares pgtx with pgx's own function for the same.
func transactions(ctx context.Context, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "create table counters (id int primary key, n bigint not null); insert into counters values (1, 0)"); err != nil {
		return err
	}
	update := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "update counters set n = n + 1 where id = 1")
		return err
	}
	err = compare(ctx, "A transaction with one statement", rounds, 200,
		side{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return update(ctx, tx) })
		}},
		side{"pgtx.Run", func(ctx context.Context) error { return pgtx.Run(ctx, pool, update) }},
	)
	if err != nil {
		return err
	}
	return compare(ctx, "A transaction with five nested ones", rounds, 50,
		side{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				for range 5 {
					if err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return update(ctx, tx) }); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		side{"pgtx.Run", func(ctx context.Context) error {
			return pgtx.Run(ctx, pool, func(ctx context.Context, _ pgx.Tx) error {
				for range 5 {
					if err := pgtx.Run(ctx, pool, update); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	)
}
