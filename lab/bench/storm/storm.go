// Package storm measures the load of 100 instances on a server that was killed and comes back.
package storm

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "storm", Rounds: 3, Run: run,
	Reasons: []harness.Reason{{
		Side: `^pgpool`,
		Why: "Connect waits between attempts, and a pool whose last attempt failed lets its callers wait a little, " +
			"so that a server that comes up is not overrun: fewer attempts for a later end.",
	}},
}

const (
	instances = 100                   // pools; more would not fit, as each connection is a process
	callers   = 2                     // for each running pool, and as many connections
	nextCall  = 20 * time.Millisecond // time from a failed request to the next one
	downFor   = time.Second
	window    = 100 * time.Millisecond
)

func run(ctx context.Context, r *harness.Report, rounds int) error {
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		b := &bench{t: t, Report: r, rounds: rounds}
		b.server, b.url = harness.StartServer(t, map[string]string{
			"max_connections": strconv.Itoa(callers*instances + 20),
		})
		if err := b.storm(fmt.Sprintf("%d instances start while the server is away for %s", instances, downFor), []side{
			{"pgx.Connect again, no wait", looping(0)},
			{"pgx.Connect again, 250 ms", looping(250 * time.Millisecond)},
			{"pgpool.Connect", starting},
		}); err != nil {
			return err
		}
		title := fmt.Sprintf("%d running pools of %d connections, each used by %d callers that come again after %s",
			instances, callers, callers, nextCall)
		return b.storm(title, []side{
			{"pgxpool", running(pgxpool.NewWithConfig)}, {"pgpool", running(connect)},
		})
	})
}

// bench is a run on a server.
type bench struct {
	*harness.Report
	t      *harness.Test
	server *fault.Server
	url    string
	rounds int
}

// side prepares one instance. comeBack is called when the server is gone, and returns when it
// answers again. end releases everything.
type side struct {
	name  string
	begin func(ctx context.Context, cfg *pgxpool.Config) (comeBack func(context.Context) error, end func(), err error)
}

func connect(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
	return pgpool.ConnectConfig(ctx, cfg, pgpool.WithLogger(slog.New(slog.DiscardHandler)))
}

func looping(wait time.Duration) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		end := func() {}
		return func(ctx context.Context) error {
			for ctx.Err() == nil {
				if conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig); err == nil {
					end = func() { _ = conn.Close(context.Background()) }
					return nil
				}
				time.Sleep(wait)
			}
			return ctx.Err()
		}, func() { end() }, nil
	}
}

func starting(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
	end := func() {}
	return func(ctx context.Context) error {
		pool, err := connect(ctx, cfg)
		if err == nil {
			end = pool.Close
		}
		return err
	}, func() { end() }, nil
}

func running(
	open func(context.Context, *pgxpool.Config) (*pgxpool.Pool, error),
) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(ctx context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		pool, err := open(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		return harness.InParallel(callers, callers, func(ctx context.Context, _ int) error {
			for ctx.Err() == nil {
				if _, err := pool.Exec(ctx, "select pg_sleep(0.01)"); err == nil {
					return nil
				}
				time.Sleep(nextCall)
			}
			return ctx.Err()
		}), pool.Close, pool.Ping(ctx)
	}
}

// storm prints the medians of the rounds. In each round every side loses the server once.
func (b *bench) storm(title string, sides []side) error {
	rows := make([]harness.Row, len(sides))
	dials, peaks := make([][]float64, len(sides)), make([][]float64, len(sides))
	for i, s := range sides {
		rows[i].Name = s.name
	}
	err := harness.TakeTurns(b.t.Ctx, 0, b.rounds, rows, func(i int, _ bool) (time.Duration, error) {
		t := &tally{perWindow: map[int]int{}}
		took, err := b.meet(sides[i], t)
		if err == nil {
			peak := 0
			for _, n := range t.perWindow {
				peak = max(peak, n)
			}
			dials[i], peaks[i] = append(dials[i], float64(t.all)), append(peaks[i], float64(peak))
		}
		return took, err
	})
	if err != nil {
		return err
	}
	var cells [][]string
	for i, row := range rows {
		if row.Failed == nil {
			cells = append(cells, []string{
				row.Name, fmt.Sprintf("%.0f", harness.Quantile(dials[i], 0.5)),
				fmt.Sprintf("%.0f", harness.Quantile(peaks[i], 0.5)),
				harness.Quantile(row.Times, 0.5).Round(10 * time.Millisecond).String(),
			})
		}
	}
	b.Grid(fmt.Sprintf("%s (medians of %d rounds, %s)", title, b.rounds, harness.Cores()),
		[]string{"", "attempts", "most in 100 ms", "all connected after"}, cells...)
	b.ExplainFailures(rows)
	b.Gather(title+", until all are connected", b.rounds, rows)
	return nil
}

// tally counts attempts to connect since the server was killed, in total and by window.
type tally struct {
	mu        sync.Mutex
	began     time.Time // zero: the server was not killed yet
	all       int
	perWindow map[int]int
}

func (t *tally) watch(cfg *pgx.ConnConfig) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		t.mu.Lock()
		if !t.began.IsZero() {
			t.all++
			t.perWindow[int(time.Since(t.began)/window)]++
		}
		t.mu.Unlock()
		return dial(ctx, network, address)
	}
}

// meet kills the server of all instances, starts it again, and returns the time from the start
// until all are connected.
func (b *bench) meet(s side, t *tally) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.t.Ctx, 5*time.Minute)
	defer cancel()
	comeBacks := make([]func(context.Context) error, instances)
	var ends sync.WaitGroup
	defer ends.Wait()
	for i := range comeBacks {
		cfg, err := harness.PoolConfig(b.url)
		if err != nil {
			return 0, err
		}
		cfg.MaxConns, cfg.ConnConfig.ConnectTimeout = callers, 5*time.Second // as pgpool's default
		t.watch(cfg.ConnConfig)
		comeBack, end, err := s.begin(ctx, cfg)
		if end != nil {
			defer ends.Go(end)
		}
		if err != nil {
			return 0, err
		}
		comeBacks[i] = comeBack
	}
	b.server.Kill(b.t)
	t.mu.Lock()
	t.began = time.Now()
	t.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	for _, comeBack := range comeBacks {
		group.Go(func() error { return comeBack(ctx) })
	}
	time.Sleep(downFor)
	up := time.Now()
	b.server.Start(b.t)
	err := group.Wait()
	t.mu.Lock() // later dials do not count
	defer t.mu.Unlock()
	t.began = time.Time{}
	return time.Since(up), err
}
