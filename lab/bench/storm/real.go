package storm

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
)

// side is one client. comeBack is called when the server has gone, and returns when it answered
// again; end frees what there is.
type side struct {
	name  string
	begin func(ctx context.Context, cfg *pgxpool.Config) (comeBack func(context.Context) error, end func(), err error)
}

func realStorms(ctx context.Context, r *harness.Report, server *harness.Server, rounds int) error {
	var starting []side
	for _, b := range backoffs[:3] {
		starting = append(starting, side{b.name, startingWith(b)})
	}
	starting = append(starting, side{"pgpool.Connect", startingPool})
	title := fmt.Sprintf("Real: %d instances start while the server is away (median of %d)", instances, rounds)
	if err := realStorm(ctx, r, server, title, rounds, starting); err != nil {
		return err
	}
	title = fmt.Sprintf("Real: %d running pools of %d connections, each used by %d callers that come again after %s "+
		"(median of %d)", instances, callers, callers, nextCall, rounds)
	return realStorm(ctx, r, server, title, rounds, []side{
		{"pgxpool: none", runningPool(pgxpool.NewWithConfig)},
		{"pgpool", runningPool(func(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
			return pgpool.ConnectConfig(ctx, cfg, quiet)
		})},
	})
}

func startingWith(b backoff) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		var conn *pgx.Conn
		comeBack := func(ctx context.Context) (err error) {
			for n := 1; ctx.Err() == nil; n++ {
				if conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig); err == nil {
					return nil
				}
				time.Sleep(b.wait(n, codeOf(err) == noRoom))
			}
			return ctx.Err()
		}
		return comeBack, func() {
			if conn != nil {
				_ = conn.Close(context.Background())
			}
		}, nil
	}
}

func startingPool(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
	var pool *pgxpool.Pool
	comeBack := func(ctx context.Context) (err error) {
		pool, err = pgpool.ConnectConfig(ctx, cfg, quiet)
		return err
	}
	return comeBack, func() {
		if pool != nil {
			pool.Close()
		}
	}, nil
}

func runningPool(
	open func(context.Context, *pgxpool.Config) (*pgxpool.Pool, error),
) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(ctx context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		pool, err := open(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		comeBack := func(ctx context.Context) error {
			return harness.InParallel(callers, callers, func(ctx context.Context, _ int) error {
				for ctx.Err() == nil {
					if _, err := pool.Exec(ctx, "select pg_sleep(0.01)"); err == nil {
						return nil
					}
					time.Sleep(nextCall)
				}
				return ctx.Err()
			})(ctx)
		}
		return comeBack, pool.Close, pool.Ping(ctx)
	}
}

// realStorm prints the medians of the rounds, in each of which every side meets the server once.
func realStorm(
	ctx context.Context, r *harness.Report, server *harness.Server, title string, rounds int, sides []side,
) error {
	tallies, rows := make([][]*tally, len(sides)), make([]harness.Row, len(sides))
	for i, s := range sides {
		rows[i].Name = s.name
	}
	err := harness.TakeTurns(ctx, 0, rounds, rows, func(i int, _ bool) (time.Duration, error) {
		t, err := stormRound(ctx, server, sides[i])
		if err != nil {
			return 0, err
		}
		tallies[i] = append(tallies[i], t)
		return t.allConnected, nil
	})
	if err != nil {
		return err
	}
	var lines [][]string
	for i, row := range rows {
		if row.Failed == nil {
			lines = append(lines, cells(row.Name, tallies[i]...))
		}
	}
	r.Grid(title+", "+harness.Cores(), head, lines...)
	r.ExplainFailures(rows)
	r.Gather(title+", until all are connected", rounds, rows)
	return nil
}

// storm is one round: what the instances did since the server went.
type storm struct {
	mu       sync.Mutex
	began    time.Time // zero: the server has not gone yet
	answered time.Time // the first time that the server said something
	letIn    time.Time // the first time that it let a client in
	tally
}

func stormRound(ctx context.Context, server *harness.Server, side side) (_ *tally, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s := &storm{}
	comeBacks := make([]func(context.Context) error, instances)
	var ends sync.WaitGroup
	defer ends.Wait()
	for i := range comeBacks {
		cfg, err := harness.PoolConfig(server.URL)
		if err != nil {
			return nil, err
		}
		cfg.MaxConns, cfg.ConnConfig.ConnectTimeout = callers, patience
		s.watch(cfg.ConnConfig)
		comeBack, end, err := side.begin(ctx, cfg)
		if end != nil {
			defer ends.Go(end)
		}
		if err != nil {
			return nil, err
		}
		comeBacks[i] = comeBack
	}
	if err := server.Kill(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	for _, comeBack := range comeBacks {
		group.Go(func() error { return comeBack(ctx) })
	}
	group.Go(func() error {
		time.Sleep(downFor)
		return server.Start()
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allConnected = time.Since(s.letIn)
	s.up = int(s.answered.Sub(s.began) / window)
	return &s.tally, nil
}

// watch counts the attempts made with cfg, and what becomes of them.
func (s *storm) watch(cfg *pgx.ConnConfig) {
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		s.mu.Lock()
		if !s.began.IsZero() {
			s.attempt(time.Since(s.began))
		}
		s.mu.Unlock()
		return dial(ctx, network, address)
	}
	cfg.Tracer = &tracer{storm: s}
}

// tracer hears how attempts end.
type tracer struct{ storm *storm }

func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (t *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t *tracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

func (t *tracer) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	s := t.storm
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return
	}
	code := codeOf(data.Err)
	if s.answered.IsZero() && (data.Err == nil || code != "") {
		s.answered = time.Now()
	}
	switch {
	case data.Err == nil:
		if s.letIn.IsZero() {
			s.letIn = time.Now()
		}
	case code == noRoom:
		s.full++
	case code == startingUp:
		s.starting++
	case pgerr.Of(data.Err) != pgerr.Refused: // by the system: nobody listened
		s.other++
	}
}
