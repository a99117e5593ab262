// Package storm measures what comes over a server that was killed and comes back: the connections a
// second that it starts and refuses, and what 100 instances do to it.
package storm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgpool"
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
	instances = 100                   // pools that fit here: each connection is a process of the server
	callers   = 2                     // of each running pool, which has as many connections
	nextCall  = 20 * time.Millisecond // until the next request comes to a pool whose last one failed
	downFor   = time.Second
	window    = 100 * time.Millisecond
	noRoom    = "53300" // the SQLSTATE of a full server
)

func run(ctx context.Context, r *harness.Report, rounds int) error {
	server, err := harness.StartServer(ctx, nil)
	if err != nil {
		return err
	}
	defer server.Remove()
	refuses, err := attempts(ctx, server, 20, true)
	if err != nil {
		return err
	}
	starts, err := attempts(ctx, server, callers*instances+20, false)
	if err != nil {
		return err
	}
	r.Printf("\nThe server starts %.0f connections a second and refuses %.0f for lack of room (%s, which the clients "+
		"share)\n", starts, refuses, harness.Cores())
	title := fmt.Sprintf("%d instances start while the server is away for %s", instances, downFor)
	if err := storm(ctx, r, server, title, rounds, []side{
		{"pgx.Connect again, no wait", looping(0)}, {"pgx.Connect again, 250 ms", looping(250 * time.Millisecond)},
		{"pgpool.Connect", starting},
	}); err != nil {
		return err
	}
	title = fmt.Sprintf("%d running pools of %d connections, each used by %d callers that come again after %s",
		instances, callers, callers, nextCall)
	return storm(ctx, r, server, title, rounds, []side{
		{"pgxpool", running(pgxpool.NewWithConfig)}, {"pgpool", running(connect)},
	})
}

// attempts restarts the server with room for so many connections, and returns how many attempts a
// second it answers while some are always waiting. A full server refuses them.
func attempts(ctx context.Context, server *harness.Server, room int, full bool) (perSecond float64, err error) {
	err = server.Configure(map[string]string{
		"max_connections": strconv.Itoa(room), "superuser_reserved_connections": "0",
	})
	if err != nil {
		return 0, err
	}
	if full {
		for range room {
			conn, err := pgx.Connect(ctx, server.URL)
			if err != nil {
				return 0, err
			}
			defer conn.Close(context.WithoutCancel(ctx))
		}
	}
	var answered atomic.Int64
	began := time.Now()
	err = harness.InParallel(8, 8, func(ctx context.Context, _ int) error {
		for time.Since(began) < 2*time.Second {
			conn, err := pgx.Connect(ctx, server.URL)
			var said *pgconn.PgError
			switch {
			case err == nil && !full:
				err = conn.Close(ctx)
			case full && errors.As(err, &said) && said.Code == noRoom:
				err = nil
			}
			if err != nil {
				return err
			}
			answered.Add(1)
		}
		return nil
	})(ctx)
	return float64(answered.Load()) / time.Since(began).Seconds(), err
}

// side prepares one instance. comeBack is called when the server has gone, and returns when it
// answered again; end frees what there is.
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

// storm prints the medians of the rounds, in each of which every side meets the server once.
func storm(
	ctx context.Context, r *harness.Report, server *harness.Server, title string, rounds int, sides []side,
) error {
	rows := make([]harness.Row, len(sides))
	dials, peaks := make([][]float64, len(sides)), make([][]float64, len(sides))
	for i, s := range sides {
		rows[i].Name = s.name
	}
	err := harness.TakeTurns(ctx, 0, rounds, rows, func(i int, _ bool) (time.Duration, error) {
		t := &tally{perWindow: map[int]int{}}
		took, err := sides[i].meet(ctx, server, t)
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
	r.Grid(fmt.Sprintf("%s (medians of %d rounds, %s)", title, rounds, harness.Cores()),
		[]string{"", "attempts", "most in 100 ms", "all connected after"}, cells...)
	r.ExplainFailures(rows)
	r.Gather(title+", until all are connected", rounds, rows)
	return nil
}

// tally counts attempts to connect since the server went, also by window.
type tally struct {
	mu        sync.Mutex
	began     time.Time // zero: the server has not gone yet
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

// meet kills the server below all instances, starts it again, and returns how long it takes from
// then until all are connected.
func (s side) meet(ctx context.Context, server *harness.Server, t *tally) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	comeBacks := make([]func(context.Context) error, instances)
	var ends sync.WaitGroup
	defer ends.Wait()
	for i := range comeBacks {
		cfg, err := harness.PoolConfig(server.URL)
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
	if err := server.Kill(); err != nil {
		return 0, err
	}
	t.mu.Lock()
	t.began = time.Now()
	t.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	for _, comeBack := range comeBacks {
		group.Go(func() error { return comeBack(ctx) })
	}
	time.Sleep(downFor)
	up := time.Now()
	err := errors.Join(server.Start(), group.Wait())
	t.mu.Lock() // those that dial later do not count
	defer t.mu.Unlock()
	t.began = time.Time{}
	return time.Since(up), err
}
