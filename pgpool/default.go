package pgpool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"
	"github.com/page-builder/persistence/pgconfig"
)

// process is the pool of [Default]. It is the one piece of global state in this package: a
// process-wide pool is what it is for.
var process shared

// Default returns the process's pool, connected on first use with [pgconfig.Load] and [Connect]. It
// is meant for small programs and scripts; a service better passes the pool on from main. The
// options of the call that connects count. Later calls' options have no effect.
//
// Calls that come while the first is still connecting wait for it and share its result; each of
// them stops waiting when its own ctx ends. A failed attempt is forgotten: the next call reads the
// environment and tries again. After [Shutdown] of the pool, and after its Close has returned, the
// next call connects again. The pool carries the values of the first call's ctx into its connects,
// but not its deadline. Default is safe for concurrent use.
func Default(ctx context.Context, opts ...Option) (*pgxpool.Pool, error) {
	return process.get(ctx, func(ctx context.Context) (*pgxpool.Pool, error) {
		cfg, err := pgconfig.Load()
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		return Connect(ctx, cfg, opts...)
	})
}

// shared makes one pool for all callers.
type shared struct {
	mu      sync.Mutex
	pool    *pgxpool.Pool
	attempt *attempt // under way, or nil
}

type attempt struct {
	done    chan struct{} // closed when pool and err are set
	cancel  context.CancelFunc
	waiting int
	pool    *pgxpool.Pool
	err     error
}

func (s *shared) get(ctx context.Context, connect func(context.Context) (*pgxpool.Pool, error)) (*pgxpool.Pool, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	if s.pool != nil && isClosed(s.pool) {
		s.pool = nil
	}
	if s.pool != nil {
		defer s.mu.Unlock()
		return s.pool, nil
	}
	a := s.attempt
	if a == nil {
		// The attempt outlives the first caller: the others still want it.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		a = &attempt{done: make(chan struct{}), cancel: cancel}
		s.attempt = a
		go s.run(own, a, connect)
	}
	a.waiting++
	s.mu.Unlock()

	select {
	case <-a.done:
		return a.pool, a.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.waiting--
	if a.waiting == 0 {
		a.cancel() // no caller wants it any more
		if s.attempt == a {
			s.attempt = nil
		}
	}
	return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
}

func (s *shared) run(ctx context.Context, a *attempt, connect func(context.Context) (*pgxpool.Pool, error)) {
	defer a.cancel()
	pool, err := connect(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt != a {
		// All callers gave up meanwhile, and another attempt may be under way.
		if pool != nil {
			go pool.Close()
		}
		pool, err = nil, context.Canceled
	} else {
		s.attempt = nil
		s.pool = pool
	}
	a.pool, a.err = pool, err
	close(a.done)
}

// forget drops pool if it is the shared one.
func (s *shared) forget(pool *pgxpool.Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == pool {
		s.pool = nil
	}
}

// peekKey marks the context of an acquire that only asks whether the pool is closed. It pings no
// connection, and its failure is not logged.
type peekKey struct{}

// isClosed asks a pool without connections for one, because nothing else tells. It waits for at
// most a millisecond.
func isClosed(pool *pgxpool.Pool) bool {
	if pool.Stat().TotalConns() > 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), peekKey{}, true), time.Millisecond)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err == nil {
		conn.Release()
	}
	return errors.Is(err, puddle.ErrClosedPool)
}
