package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
)

// crowdedLimit limits how long an attempt goes on acquiring while the server refuses one more
// connection (53300): pgxpool connects if it has fewer than MaxConns, and does not wait for a
// connection that comes free. Five attempts take as long as pgpool's default limit for an acquire.
const crowdedLimit = time.Second

// acquirer is a pool.
type acquirer interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
}

// separateWait limits the acquire of a separate transaction. The counters of the pool showed a free
// connection, but another caller may have taken it, or it may still be connecting.
const separateWait = time.Second

// acquire takes a connection, if there is none yet. It waits on Run's ctx, because the ctx of the
// first statement says nothing about the transaction.
func (s *session) acquire() error {
	if s.conn != nil {
		return nil
	}
	start := time.Now()
	lease, err := s.acquireLease()
	s.times.acquire += time.Since(start)
	if err != nil {
		if !strings.HasPrefix(err.Error(), "acquire: ") { // pgpool's pool says so itself
			err = fmt.Errorf("acquire: %w", err)
		}
		s.refuse(phaseAcquire.in(start, err))
		return s.cause
	}
	s.lease = lease
	s.use(lease.Conn())
	return nil
}

func (s *session) acquireLease() (*pgxpool.Conn, error) {
	limit := s.opts.AcquireTimeout
	if s.separate {
		if counted, ok := s.pool.(statistics); ok {
			if stat := counted.Stat(); stat.IdleConns() == 0 && stat.TotalConns() >= stat.MaxConns() {
				return nil, ErrPoolFull
			}
		}
		if limit <= 0 || limit > separateWait {
			limit = separateWait
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ctx, done := withLimit(ctx, limit, context.DeadlineExceeded)
	defer done()
	s.gate.wire.set(nil, cancel)
	defer s.gate.wire.set(nil, nil)
	lease, err := s.pool.Acquire(ctx)
	if err != nil {
		lease, err = s.acquireCrowded(ctx, err)
	}
	switch {
	case err == nil || s.ctx.Err() != nil || !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return lease, err
	case s.separate && s.opts.AcquireTimeout != limit:
		return nil, fmt.Errorf("%w (within %v)", ErrPoolFull, separateWait)
	case !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	case err == ctx.Err(): //nolint:errorlint // the pool says no more than that
		return nil, fmt.Errorf("%w (%v)", ErrAcquireTimeout, limit)
	}
	// The pool's error comes first, because its category counts: pgpool's pool tells a busy pool
	// from a server that does not answer, and names the holders of the connections.
	return nil, fmt.Errorf("%w: %w (%v)", err, ErrAcquireTimeout, limit)
}

// acquireCrowded acquires again while err says that the server refuses one more connection. It
// returns any other err as it is.
func (s *session) acquireCrowded(ctx context.Context, err error) (lease *pgxpool.Conn, _ error) {
	began, backoff := time.Now(), defaultBackoff()
	for pgerr.Of(err) == pgerr.TooManyConnections && time.Since(began) < crowdedLimit {
		if _, ended := pause(ctx, backoff); ended != nil {
			break
		}
		lease, err = s.pool.Acquire(ctx)
	}
	return lease, err
}

// onLiveConnection calls begin with an acquired connection. If the connection was dead, perhaps
// while it was still in the pool, and nothing of the function's can have been executed, it calls
// begin with the next one, at most once for each connection that the pool can hold.
func (s *session) onLiveConnection(begin func() (dead bool, err error)) error {
	for tries := 0; ; tries++ {
		if err := s.acquire(); err != nil {
			return err
		}
		dead, err := begin()
		if !dead || s.pool == nil || s.ctx.Err() != nil || s.gate.wire.wasCut() || tries >= maxConns(s.pool) {
			return err
		}
		s.giveBack()
		s.reset()
	}
}

type statistics interface{ Stat() *pgxpool.Stat }

// maxConns returns how many connections pool holds at most.
func maxConns(pool acquirer) int {
	if counted, ok := pool.(statistics); ok {
		return int(counted.Stat().MaxConns())
	}
	return 1
}
