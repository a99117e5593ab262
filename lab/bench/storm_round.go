package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/pgerr"
)

// realStorm prints the medians of the rounds, in each of which every side meets the server once, in
// random order.
func realStorm(ctx context.Context, r *report, server *ownServer, title string, rounds int, sides []stormSide) error {
	tallies, rows := make([][]*tally, len(sides)), make([]measuredSide, len(sides))
	for i, s := range sides {
		rows[i].name = s.name
	}
	err := takeTurns(ctx, 0, rounds, rows, func(i int, _ bool) (time.Duration, error) {
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
	printHead(r, title)
	for i, row := range rows {
		if row.failed == nil {
			medianOf(tallies[i]).print(r, row.name)
		}
	}
	r.explainFailures(rows)
	r.gather(title+", until all are connected", rounds, rows)
	return nil
}

// medianOf takes the median of each figure by itself.
func medianOf(all []*tally) *tally {
	figure := func(of func(*tally) int) int {
		values := make([]float64, len(all))
		for i, t := range all {
			values[i] = float64(of(t))
		}
		return int(quantile(values, 0.5))
	}
	return &tally{
		up: 1,
		perWindow: map[int]int{
			0: figure(func(t *tally) int { ever, _ := t.peaks(); return ever }),
			1: figure(func(t *tally) int { _, up := t.peaks(); return up }),
		},
		attempts:     figure(func(t *tally) int { return t.attempts }),
		starting:     figure(func(t *tally) int { return t.starting }),
		full:         figure(func(t *tally) int { return t.full }),
		other:        figure(func(t *tally) int { return t.other }),
		allConnected: time.Duration(figure(func(t *tally) int { return int(t.allConnected) })),
	}
}

// storm is one round: what the instances did since the server went.
type storm struct {
	mu       sync.Mutex
	began    time.Time // zero: the server has not gone yet
	answered time.Time // the first time that the server said something
	letIn    time.Time // the first time that it let somebody in
	tally
}

func stormRound(ctx context.Context, server *ownServer, side stormSide) (*tally, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	s := &storm{}
	comeBacks := make([]func(context.Context) error, instances)
	var ends sync.WaitGroup
	defer ends.Wait()
	for i := range comeBacks {
		cfg, err := pgxpool.ParseConfig(server.url)
		if err != nil {
			return nil, errors.New("the server's URL cannot be parsed")
		}
		cfg.MaxConns = callers
		cfg.ConnConfig.ConnectTimeout = patience
		s.watch(cfg.ConnConfig)
		comeBack, end, err := side.begin(ctx, cfg)
		if err != nil {
			return nil, err
		}
		comeBacks[i] = comeBack
		defer ends.Go(end)
	}
	if err := server.kill(ctx); err != nil {
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
		return server.start(ctx)
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
	cfg.Tracer = &stormTracer{s}
}

// stormTracer hears how attempts end.
type stormTracer struct{ storm *storm }

func (t *stormTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (t *stormTracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t *stormTracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

func (t *stormTracer) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	s := t.storm
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return
	}
	said := saidBy(data.Err)
	if s.answered.IsZero() && (data.Err == nil || said != "") {
		s.answered = time.Now()
	}
	switch {
	case data.Err == nil:
		if s.letIn.IsZero() {
			s.letIn = time.Now()
		}
	case said == noRoom:
		s.full++
	case said == startingUp:
		s.starting++
	case pgerr.Of(data.Err) == pgerr.Refused:
		s.refused++
	default:
		s.other++
	}
}
