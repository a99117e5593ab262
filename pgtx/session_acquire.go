package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// acquirer is a pool.
type acquirer interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
}

// acquire takes the connection, if there is none yet. It waits on Run's ctx: that of the first
// statement says nothing about the transaction.
func (s *session) acquire() error {
	if s.conn != nil {
		return nil
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	take := acquireWithin
	if s.separate {
		take = acquireSeparate
	}
	lease, err := take(ctx, s.pool, s.opts.AcquireTimeout)
	s.times.acquire += time.Since(start)
	s.mu.Lock()
	s.stop = nil
	s.mu.Unlock()
	if err != nil {
		s.refuse(phaseAcquire.in(start, err))
		return s.cause
	}
	s.lease = lease
	s.use(lease.Conn())
	return nil
}

// onLiveConnection calls begin on an acquired connection. If that was dead, as it may have been in
// the pool already, and nothing of the function's own can have been executed, begin is called on
// the next one, at most once for each connection that the pool can hold.
func (s *session) onLiveConnection(begin func() (dead bool, err error)) error {
	for tries := 0; ; tries++ {
		if err := s.acquire(); err != nil {
			return err
		}
		dead, err := begin()
		if !dead || s.pool == nil || s.ctx.Err() != nil || s.gate.isShut() || tries >= maxConns(s.pool) {
			return err
		}
		s.giveBack()
		s.reset()
	}
}

// maxConns is how many connections pool holds at most.
func maxConns(pool acquirer) int {
	if counted, ok := pool.(interface{ Stat() *pgxpool.Stat }); ok {
		return int(counted.Stat().MaxConns())
	}
	return 1
}

// acquireWithin is pool.Acquire with a limit.
func acquireWithin(ctx context.Context, pool acquirer, limit time.Duration) (*pgxpool.Conn, error) {
	if limit <= 0 {
		conn, err := pool.Acquire(ctx)
		return conn, inAcquire(err)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := pool.Acquire(limited)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil {
		err = &acquireTimeoutError{limit: limit, pool: err}
	}
	return conn, inAcquire(err)
}

// separateWait limits the acquire of a separate transaction. The connection that the pool's
// counters showed may be taken by now, or in the middle of a slow connect.
const separateWait = time.Second

// acquireSeparate takes a connection for a transaction inside another of the same pool.
func acquireSeparate(ctx context.Context, pool acquirer, limit time.Duration) (*pgxpool.Conn, error) {
	if counted, ok := pool.(interface{ Stat() *pgxpool.Stat }); ok {
		if stat := counted.Stat(); stat.IdleConns() == 0 && stat.TotalConns() >= stat.MaxConns() {
			return nil, fmt.Errorf("acquire: %w", ErrPoolFull)
		}
	}
	if limit > 0 && limit < separateWait {
		return acquireWithin(ctx, pool, limit)
	}
	limited, cancel := context.WithTimeout(ctx, separateWait)
	defer cancel()
	conn, err := pool.Acquire(limited)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() == nil && limited.Err() != nil:
		err = fmt.Errorf("%w (within %v)", ErrPoolFull, separateWait)
	}
	return nil, inAcquire(err)
}

// inAcquire puts the operation before an error of a pool, unless the pool has done so itself, as
// pgpool's does.
func inAcquire(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "acquire: ") {
		return err
	}
	return fmt.Errorf("acquire: %w", err)
}

// acquireTimeoutError is ErrAcquireTimeout with what the pool says: pgpool's pool tells a busy pool
// from a server that does not answer, and names the holders of the connections.
type acquireTimeoutError struct {
	limit time.Duration
	pool  error
}

func (e *acquireTimeoutError) Error() string {
	pool := strings.TrimPrefix(e.pool.Error(), "acquire: ")
	return fmt.Sprintf("acquire: no connection within AcquireTimeout (%v): %s", e.limit, pool)
}

// Unwrap returns the pool's error first, whose category counts.
func (e *acquireTimeoutError) Unwrap() []error { return []error{e.pool, ErrAcquireTimeout} }
