package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

const increment = "update counters set n = n + 1 where id = $1"

// transactions compares pgtx with pgx's own function for the same and with its peers, on the spot
// and through a proxy that adds a round trip, with and without a deadline of ctx.
func transactions(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	for _, roundTrip := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		if err := transactionsAt(ctx, r, url, roundTrip, rounds); err != nil {
			return err
		}
	}
	if err := withoutCache(ctx, r, url, rounds); err != nil {
		return err
	}
	return workers(ctx, r, url, rounds)
}

// counters makes the table that the transactions update.
func counters(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, "create table if not exists counters (id int primary key, n bigint not null); truncate "+
		"counters; "+
		"insert into counters select i, 0 from generate_series(1, 64) i")
	return err
}

// configured returns a pool with settings of pgx.
func configured(ctx context.Context, url string, set func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	set(config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := counters(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// withoutCache is the exec mode for poolers such as PgBouncer, without prepared statements.
func withoutCache(ctx context.Context, r *report, url string, rounds int) error {
	pool, err := configured(ctx, url, func(c *pgxpool.Config) {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	})
	if err != nil {
		return err
	}
	defer pool.Close()
	return compare(ctx, r, "A transaction with one statement, loopback, QueryExecModeExec", rounds,
		25, oneStatement(pool)...)
}

func transactionsAt(ctx context.Context, r *report, url string, roundTrip time.Duration, rounds int) error {
	t := &test{ctx: ctx}
	defer t.end()
	if roundTrip > 0 {
		if err := t.try(func() {
			p := faultkit.NewProxy(t, url, faultkit.Options{})
			p.Delay(faultkit.Both, roundTrip/2)
			url = p.URL()
		}); err != nil {
			return err
		}
	}
	pool, err := configured(ctx, url, func(*pgxpool.Config) {})
	if err != nil {
		return err
	}
	defer pool.Close()
	peers, err := newPeers(pool)
	if err != nil {
		return err
	}
	defer peers.close()
	ops, where := 25, "loopback" // few in a row: on a shared machine the sides should take turns often
	if roundTrip > 0 {
		ops, where = 2, fmt.Sprintf("%v round trip", roundTrip)
	}
	for _, limit := range []time.Duration{0, time.Minute} {
		title := func(what string) string {
			if limit > 0 {
				return what + ", " + where + ", ctx with a deadline"
			}
			return what + ", " + where
		}
		for _, c := range []struct {
			what  string
			sides []side
		}{
			{"A transaction with one statement", append(oneStatement(pool), peers.oneStatement()...)},
			{"A transaction whose statement is new to the connection", firstUse(pool)},
			{"A transaction with two settings", twoSettings(pool)},
			{"A transaction with five nested ones", append(fiveNested(pool), peers.fiveNested()...)},
			{"An empty transaction", empty(pool)},
			{"Three updates in a batch", threeUpdates(pool)},
		} {
			if err := compare(ctx, r, title(c.what), rounds, ops, limited(limit, c.sides)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// limited gives each operation a deadline, unless limit is 0.
func limited(limit time.Duration, sides []side) []side {
	if limit == 0 {
		return sides
	}
	for i, s := range sides {
		sides[i].op = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return s.op(ctx)
		}
	}
	return sides
}

func update(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, increment, 1)
	return err
}

func oneStatement(pool *pgxpool.Pool) []side {
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return update(ctx, tx) })
		}},
		{"pgtx.Run", func(ctx context.Context) error { return pgtx.Run(ctx, pool, update) }},
		{"pgtx.Run, eager", func(ctx context.Context) error {
			return pgtx.RunWith(ctx, pool, pgtx.Options{Eager: true}, update)
		}},
		{"pgtx.Run, verified", func(ctx context.Context) error {
			return pgtx.RunWith(ctx, pool, pgtx.Options{VerifyCommit: true}, update)
		}},
		pipelined(pool),
	}
}

// firstUse sends a text that no connection knows yet.
func firstUse(pool *pgxpool.Pool) []side {
	var n atomic.Int64
	fresh := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("%s -- %d", increment, n.Add(1)), 1)
		return err
	}
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fresh(ctx, tx) })
		}},
		{"pgtx.Run", func(ctx context.Context) error { return pgtx.Run(ctx, pool, fresh) }},
		{"Batch.BeginTx by hand, prepared before BEGIN", func(ctx context.Context) error {
			return byHand(ctx, pool, fmt.Sprintf("%s -- %d", increment, n.Add(1)))
		}},
	}
}

// twoSettings sets two settings for the transaction, as row-level security needs.
func twoSettings(pool *pgxpool.Pool) []side {
	const lockTimeout, tenant = "set local lock_timeout = '10s'", "set local app.tenant = 'one'"
	settings := map[string]string{"lock_timeout": "10s", "app.tenant": "one"}
	return []side{
		{"pgx.BeginFunc and two Exec", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				for _, sql := range []string{lockTimeout, tenant} {
					if _, err := tx.Exec(ctx, sql); err != nil {
						return err
					}
				}
				return update(ctx, tx)
			})
		}},
		{"pgx.BeginTxFunc, BeginQuery with both", func(ctx context.Context) error {
			opts := pgx.TxOptions{BeginQuery: "begin; " + lockTimeout + "; " + tenant}
			return pgx.BeginTxFunc(ctx, pool, opts, func(tx pgx.Tx) error { return update(ctx, tx) })
		}},
		{"pgtx.Run, Settings", func(ctx context.Context) error {
			return pgtx.RunWith(ctx, pool, pgtx.Options{Settings: settings}, update)
		}},
		{"Batch.BeginTx by hand", func(ctx context.Context) error {
			return byHand(ctx, pool, increment, lockTimeout, tenant)
		}},
	}
}

// byHand sends BEGIN, the settings and the statement in one batch of pgx, and COMMIT.
func byHand(ctx context.Context, pool *pgxpool.Pool, sql string, settings ...string) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.BeginTx(pgx.TxOptions{})
	for _, setting := range settings {
		batch.Queue(setting)
	}
	batch.Queue(sql, 1)
	results := conn.SendBatch(ctx, batch)
	if err := results.Close(); err != nil {
		return err
	}
	return results.Tx().Commit(ctx)
}

func fiveNested(pool *pgxpool.Pool) []side {
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				for range 5 {
					if err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return update(ctx, tx) }); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		{"pgtx.Run", func(ctx context.Context) error {
			return pgtx.Run(ctx, pool, func(ctx context.Context, _ pgx.Tx) error {
				for range 5 {
					if err := pgtx.Run(ctx, pool, update); err != nil {
						return err
					}
				}
				return nil
			})
		}},
	}
}

func empty(pool *pgxpool.Pool) []side {
	return []side{
		{"pgx.BeginFunc", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(pgx.Tx) error { return nil })
		}},
		{"pgtx.Run", func(ctx context.Context) error {
			return pgtx.Run(ctx, pool, func(context.Context, pgx.Tx) error { return nil })
		}},
	}
}

func threeUpdates(pool *pgxpool.Pool) []side {
	batch := func() *pgx.Batch {
		b := &pgx.Batch{}
		for id := range 3 {
			b.Queue(increment, id+1)
		}
		return b
	}
	return []side{
		{"pgx.BeginFunc and SendBatch", func(ctx context.Context) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch()).Close() })
		}},
		{"pgtx.Atomic", func(ctx context.Context) error { return pgtx.Atomic(ctx, pool, pgtx.Options{}, batch()) }},
	}
}
