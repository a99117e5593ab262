package pgtx

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// setSavepoint sets the savepoint of p.
func (s *session) setSavepoint(ctx context.Context, p *tx) error {
	if s.state == stateFailed {
		return fmt.Errorf("savepoint: the transaction has already failed: %w", s.loss())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("savepoint: %w", context.Cause(ctx))
	}
	s.count++
	p.savepoint = "pgtx_" + strconv.Itoa(s.count)
	if s.state == stateIdle {
		if err := s.begin("savepoint " + p.savepoint); err != nil {
			return err
		}
	} else if err := s.control(ctx, "savepoint "+p.savepoint); err != nil {
		s.observe(err)
		return fmt.Errorf("savepoint: %w", err)
	}
	s.open = append(s.open, p)
	return nil
}

// releaseSavepoint ends the savepoint of p and keeps what was done in it.
func (s *session) releaseSavepoint(ctx context.Context, p *tx) error {
	start := time.Now()
	s.closeFrom(p)
	if err := s.control(ctx, "release savepoint "+p.savepoint); err != nil {
		s.observe(err)
		return phaseCommit.in(start, fmt.Errorf("release savepoint: %w", err))
	}
	return nil
}

// undoSavepoint undoes what was done since the savepoint of p, and releases it.
func (s *session) undoSavepoint(ctx context.Context, p *tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	s.closeFrom(p)
	// A simple query of two statements takes one round trip.
	err := s.control(ctx, "rollback to savepoint "+p.savepoint+"; release savepoint "+p.savepoint)
	if err != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() != 'E' {
		kill(s.conn) // what could not be undone must not be committed with the rest
	}
	if s.observe(err); err != nil {
		return fmt.Errorf("rollback to savepoint: %w", err)
	}
	s.undone(p)
	s.hooks.dropInside(p)
	return nil
}

// closeFrom closes the savepoint of p and those that were set after it, which end with it.
func (s *session) closeFrom(p *tx) {
	p.closed.Store(true)
	if i := slices.Index(s.open, p); i >= 0 {
		for _, above := range s.open[i:] {
			above.closed.Store(true)
		}
		s.open = s.open[:i]
	}
}
