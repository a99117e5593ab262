// Package transaction compares pgtx with pgx's own functions and with other packages, on the same
// machine and through a proxy that adds a round trip.
package transaction

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "transaction", Rounds: 40, Run: run,
	Charts: []harness.Chart{{File: "transaction", Title: "A transaction with one statement", Panels: []harness.Panel{
		{Table: "A transaction with one statement, loopback", Heading: "on the same machine"},
		{Table: "A transaction with one statement, 1ms round trip", Heading: "1 ms round trip"},
		{Table: "A transaction with one statement, 5ms round trip", Heading: "5 ms round trip"},
	}}},
	Reasons: []harness.Reason{
		{
			Table: `one statement`, Side: `verified`,
			Why: "VerifyCommit sends one statement more in the first flush, which also makes the server assign the " +
				"transaction's id at once: that is what it takes to learn whether a broken COMMIT was applied.",
		},
		{
			Side: `eager`,
			Why: "Eager sends BEGIN in a round trip of its own, as pgx.BeginFunc does and the peer that pipelines " +
				"it does not. The rest is the guard around the function: nesting, the kinds of outcome, retries.",
		},
		{
			Side: `^pgtx`, Peer: `by hand`,
			Why: "The peer written by hand sends the same and checks nothing: no rollback, no retry, no nested " +
				"transaction, no doubt about a COMMIT without an answer.",
		},
		{
			Table: `new to the connection|two settings`, Side: `^pgtx`,
			Why: "pgtx prepares a new text in the same flush, after BEGIN. Where a round trip costs little, the " +
				"guard around the function shows.",
		},
		{
			Table: `five nested`, Side: `^pgtx`,
			Why: "The same savepoints are sent. The rest is the guard around each nested function.",
		},
		{
			Table: `^Three updates`, Side: `^pgtx.Atomic$`,
			Why: "Atomic sends BEGIN in a round trip of its own, as the peer does: pgx prepares the new texts of a " +
				"batch before the batch begins. The rest is the guard around the batch, which looks at every result.",
		},
	},
}

const increment = "update counters set n = n + 1 where id = $1"

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	for _, roundTrip := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		if err := runAt(ctx, r, url, roundTrip, rounds); err != nil {
			return err
		}
	}
	return nil
}

func runAt(ctx context.Context, r *harness.Report, url string, roundTrip time.Duration, rounds int) error {
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		ops, where := 25, "loopback" // few in a row: on a shared machine the sides should take turns often
		if roundTrip > 0 {
			p := fault.NewProxy(t, url, fault.Options{})
			p.Delay(fault.Both, roundTrip/2)
			url, ops, where = p.URL(), 2, fmt.Sprintf("%v round trip", roundTrip)
		}
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return err
		}
		t.Cleanup(pool.Close)
		if _, err := pool.Exec(ctx, `create table if not exists counters (id int primary key, n bigint not null);
			truncate counters; insert into counters select i, 0 from generate_series(1, 64) i`); err != nil {
			return err
		}
		peers, err := newPeers(pool)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = peers.sql.Close() })
		for _, c := range []struct {
			what  string
			sides []harness.Side
		}{
			{"A transaction with one statement", append(oneStatement(pool), peers.oneStatement()...)},
			{"A transaction whose statement is new to the connection", firstUse(pool)},
			{"A transaction with two settings", twoSettings(pool)},
			{"A transaction with five nested ones", fiveNested(pool)},
			{"An empty transaction", empty(pool)},
			{"Three updates in a batch", threeUpdates(pool)},
		} {
			if err := r.Compare(ctx, c.what+", "+where, rounds, ops, c.sides...); err != nil {
				return err
			}
		}
		return nil
	})
}

func update(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, increment, 1)
	return err
}

// begin returns a side of pgx.BeginFunc.
func begin(name string, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx) error) harness.Side {
	return harness.Side{Name: name, Op: func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fn(ctx, tx) })
	}}
}

// with returns a side of pgtx.
func with(name string, pool *pgxpool.Pool, opts pgtx.Options, fn func(context.Context, pgx.Tx) error) harness.Side {
	return harness.Side{Name: name, Op: func(ctx context.Context) error { return pgtx.RunWith(ctx, pool, opts, fn) }}
}

// byHand sends BEGIN, the settings and the statement in one batch of pgx, and then COMMIT. It
// checks nothing, so it is a lower bound for the cost of a transaction.
func byHand(name string, pool *pgxpool.Pool, sql func() string, settings ...string) harness.Side {
	return harness.Side{Name: name, Op: func(ctx context.Context) error {
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
		batch.Queue(sql(), 1)
		results := conn.SendBatch(ctx, batch)
		if err := results.Close(); err != nil {
			return err
		}
		return results.Tx().Commit(ctx)
	}}
}

func oneStatement(pool *pgxpool.Pool) []harness.Side {
	return []harness.Side{
		begin("pgx.BeginFunc", pool, update),
		with("pgtx.Run", pool, pgtx.Options{}, update),
		with("pgtx.Run, eager", pool, pgtx.Options{Eager: true}, update),
		with("pgtx.Run, verified", pool, pgtx.Options{VerifyCommit: true}, update),
		byHand("Batch.BeginTx by hand, no checks", pool, func() string { return increment }),
	}
}

// firstUse sends a text that is new to every connection.
func firstUse(pool *pgxpool.Pool) []harness.Side {
	var n atomic.Int64
	text := func() string { return fmt.Sprintf("%s -- %d", increment, n.Add(1)) }
	fresh := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, text(), 1)
		return err
	}
	return []harness.Side{
		begin("pgx.BeginFunc", pool, fresh),
		with("pgtx.Run", pool, pgtx.Options{}, fresh),
		byHand("Batch.BeginTx by hand, prepared before BEGIN", pool, text),
	}
}

// twoSettings sets two settings for the transaction, as row-level security needs.
func twoSettings(pool *pgxpool.Pool) []harness.Side {
	const lockTimeout, tenant = "set local lock_timeout = '10s'", "set local app.tenant = 'one'"
	settings := map[string]string{"lock_timeout": "10s", "app.tenant": "one"}
	return []harness.Side{
		begin("pgx.BeginFunc and two Exec", pool, func(ctx context.Context, tx pgx.Tx) error {
			for _, sql := range []string{lockTimeout, tenant} {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
			return update(ctx, tx)
		}),
		{Name: "pgx.BeginTxFunc, BeginQuery with both", Op: func(ctx context.Context) error {
			opts := pgx.TxOptions{BeginQuery: "begin; " + lockTimeout + "; " + tenant}
			return pgx.BeginTxFunc(ctx, pool, opts, func(tx pgx.Tx) error { return update(ctx, tx) })
		}},
		with("pgtx.Run, Settings", pool, pgtx.Options{Settings: settings}, update),
		byHand("Batch.BeginTx by hand", pool, func() string { return increment }, lockTimeout, tenant),
	}
}

func fiveNested(pool *pgxpool.Pool) []harness.Side {
	return []harness.Side{
		begin("pgx.BeginFunc", pool, func(ctx context.Context, tx pgx.Tx) error {
			for range 5 {
				if err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return update(ctx, tx) }); err != nil {
					return err
				}
			}
			return nil
		}),
		with("pgtx.Run", pool, pgtx.Options{}, func(ctx context.Context, _ pgx.Tx) error {
			for range 5 {
				if err := pgtx.Run(ctx, pool, update); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func empty(pool *pgxpool.Pool) []harness.Side {
	nothing := func(context.Context, pgx.Tx) error { return nil }
	return []harness.Side{
		begin("pgx.BeginFunc", pool, nothing), with("pgtx.Run", pool, pgtx.Options{}, nothing),
	}
}

func threeUpdates(pool *pgxpool.Pool) []harness.Side {
	batch := func() *pgx.Batch {
		b := &pgx.Batch{}
		for id := range 3 {
			b.Queue(increment, id+1)
		}
		return b
	}
	return []harness.Side{
		begin("pgx.BeginFunc and SendBatch", pool, func(ctx context.Context, tx pgx.Tx) error {
			return tx.SendBatch(ctx, batch()).Close()
		}),
		{Name: "pgtx.Atomic", Op: func(ctx context.Context) error {
			return pgtx.Atomic(ctx, pool, pgtx.Options{}, batch())
		}},
	}
}
