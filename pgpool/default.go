package pgpool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
	"github.com/page-builder/persistence/pgconfig"
)

// process is the pool of [Default]. It is the one piece of global state in this package: a
// process-wide pool is what it is for.
var process = shared{turn: make(chan struct{}, 1)}

// Default returns the process's pool, connected on first use with [pgconfig.Load] and [Connect]. It
// is meant for small programs and scripts; a service better passes the pool on from main. The
// options of the call that connects count. Later calls' options have no effect.
//
// Calls that come while another one connects wait for it and share its result; each of them stops
// waiting when its own ctx ends. If the ctx of the call that connects ends, the next one connects.
// A failed attempt is forgotten: the next call reads the environment and tries again. After
// [Shutdown] of the pool, and after its Close has returned, the next call connects again. Default
// is safe for concurrent use.
func Default(ctx context.Context, opts ...Option) (*pgxpool.Pool, error) {
	return process.get(ctx, func() (*pgxpool.Pool, error) {
		cfg, err := pgconfig.Load()
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		return Connect(ctx, cfg, opts...)
	})
}

// shared makes one pool for all callers.
type shared struct {
	turn     chan struct{} // has a value while a caller looks or connects
	pool     atomic.Pointer[pgxpool.Pool]
	failures atomic.Int64
	err      error // the last failure; guarded by turn
}

func (s *shared) get(ctx context.Context, connect func() (*pgxpool.Pool, error)) (*pgxpool.Pool, error) {
	failures := s.failures.Load()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
	}
	if pool := s.pool.Load(); pool != nil && !isClosed(pool) {
		return pool, nil
	}
	if s.failures.Load() != failures {
		return nil, s.err // of the call that this one waited for
	}
	pool, err := connect()
	if err == nil {
		s.pool.Store(pool)
	} else if ctx.Err() == nil {
		s.err = err
		s.failures.Add(1)
	}
	return pool, err
}

// isClosed asks a pool without connections for one, because nothing else tells. It gives up after a
// millisecond; an acquire that was given up is not logged.
func isClosed(pool *pgxpool.Pool) bool {
	if pool.Stat().TotalConns() > 0 {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(time.Millisecond, cancel).Stop()
	conn, err := pool.Acquire(ctx)
	if err == nil {
		conn.Release()
	}
	return errors.Is(err, puddle.ErrClosedPool)
}
