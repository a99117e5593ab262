package citus

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/lab/cluster/chaos"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

const (
	sites   = 40
	opening = 1000
	clients = 8
	// outage is the time that the worker is down. The clients' options let them retry for longer.
	outage = 2 * time.Second
	// cutEvery says that one of that many COMMITs loses its connection.
	cutEvery = 2
)

var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed distribute.sql
	distributeSQL string
)

// ledger moves money between sites, which live on different workers.
type ledger struct {
	Options
	coordinator, worker *fault.Server

	pool *pgxpool.Pool
	cuts atomic.Int64 // COMMITs that lost their connection
	last atomic.Int64 // transfer

	mu   sync.Mutex
	told []chaos.Told
}

// options let a transaction outlast the restart of a worker. The default of five attempts ends
// within a second.
func options(key string) pgtx.Options {
	return pgtx.Options{
		VerifyCommit: true, IdempotencyKey: key,
		MaxAttempts: 1000, Timeout: 30 * time.Second, AttemptTimeout: 5 * time.Second,
	}
}

func (l *ledger) run(t *owner) (chaos.Verdict, error) {
	if err := l.create(t.ctx); err != nil {
		return chaos.Verdict{}, err
	}
	proxy := fault.NewProxy(t, l.coordinator.URL(), fault.Options{})
	proxy.OnRequest(func(r fault.Request) fault.Cut {
		if !r.Commit || rand.IntN(cutEvery) != 0 {
			return fault.Pass
		}
		l.cuts.Add(1)
		return []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer}[rand.IntN(2)]
	})
	cfg, err := pgxpool.ParseConfig(proxy.URL())
	if err != nil {
		return chaos.Verdict{}, errors.New("the proxy's URL does not parse")
	}
	cfg.MaxConns = clients
	if l.pool, err = pgpool.ConnectConfig(t.ctx, cfg, pgpool.WithLogger(nil)); err != nil {
		return chaos.Verdict{}, err
	}
	defer l.pool.Close()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { l.work(t.ctx) })
	}
	for _, part := range []int64{3, 2} { // after a third, and after half
		for l.last.Load() < int64(l.Transfers)/part && t.ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if t.ctx.Err() != nil {
			break
		}
		fmt.Fprintf(l.Out, "a worker is killed after %d transfers\n", l.last.Load())
		l.worker.Kill(t)
		time.Sleep(outage)
		l.worker.Start(t)
	}
	all.Wait()
	if err := t.ctx.Err(); err != nil {
		return chaos.Verdict{}, err
	}
	book, err := l.book(t.ctx)
	if err != nil {
		return chaos.Verdict{}, err
	}
	v := chaos.Judge(l.told, book)
	fmt.Fprintf(l.Out, "%d transfers: %d committed, %d refused, %d unknown; %d of their COMMITs lost the connection\n"+
		"%d lost, %d doubled, %d refused and yet there\n",
		len(l.told), v.Acknowledged, v.Refused, v.Unknown, l.cuts.Load(), v.Lost, v.Twice, v.Denied)
	return v, nil
}

func (l *ledger) create(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, l.coordinator.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	sqls := []string{schemaSQL, pgtx.IdempotencyTableSQL}
	if !l.Plain { // one by one: Citus refuses all of them in one transaction
		sqls = append(sqls, strings.Split(strings.TrimSpace(distributeSQL), "\n")...)
	}
	sqls = append(sqls,
		fmt.Sprintf(`insert into sites select n, 'site ' || n from generate_series(1, %d) n`, sites),
		fmt.Sprintf(`insert into accounts select n, %d from generate_series(1, %d) n`, opening, sites))
	for _, sql := range sqls {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) work(ctx context.Context) {
	for ctx.Err() == nil {
		n := l.last.Add(1)
		if n > int64(l.Transfers) {
			return
		}
		source := 1 + rand.IntN(sites)
		target := 1 + (source+rand.IntN(sites-1))%sites
		err := pgtx.RunWith(ctx, l.pool, options(fmt.Sprint("transfer:", n)),
			func(ctx context.Context, tx pgx.Tx) error { return move(ctx, tx, n, source, target) })
		told := chaos.Told{Transfer: n, Outcome: chaos.Refused}
		switch unknown := (*pgtx.CommitUnknownError)(nil); {
		case err == nil:
			told.Outcome = chaos.Acknowledged
		case errors.As(err, &unknown):
			told.Outcome = chaos.Unknown
		}
		l.mu.Lock()
		l.told = append(l.told, told)
		l.mu.Unlock()
	}
}

func move(ctx context.Context, tx pgx.Tx, transfer int64, source, target int) error {
	const sql = `update accounts set balance = balance + $2 where site_id = $1`
	for site, amount := range map[int]int{source: -1, target: 1} {
		if _, err := tx.Exec(ctx, sql, site, amount); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `insert into lines (site_id, transfer, target) values ($1, $2, $3)`,
		source, transfer, target)
	return err
}

// book reads the final state. All transfers have ended, so it needs no snapshot of all shards.
func (l *ledger) book(ctx context.Context) (chaos.Book, error) {
	book := chaos.Book{Balances: map[int]int64{}, Opening: opening}
	conn, err := pgx.Connect(ctx, l.coordinator.URL())
	if err != nil {
		return book, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select transfer, 1, site_id, target, 1 from lines`)
	if err != nil {
		return book, err
	}
	if book.Lines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[chaos.Line]); err != nil {
		return book, err
	}
	if rows, err = conn.Query(ctx, `select site_id, balance from accounts`); err != nil {
		return book, err
	}
	var site int
	var balance int64
	_, err = pgx.ForEachRow(rows, []any{&site, &balance}, func() error { book.Balances[site] = balance; return nil })
	return book, err
}
