package main

import (
	"context"
	"fmt"
	"time"

	"github.com/page-builder/persistence/pgpool"
)

func (s *story) connect(ctx context.Context) error {
	s.title("A pool with production's limits (pgconfig, pgpool)")
	began := time.Now()
	pool, err := pgpool.Connect(ctx, s.cfg, pgpool.WithLogger(s.log))
	if err != nil {
		return err
	}
	s.pool = pool
	s.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := pgpool.Shutdown(ctx, pool); err != nil {
			s.say("%v", err)
		}
	})
	s.say("connected in %s; at most %d connections, %s to get one, %s for a statement",
		since(began), s.cfg.MaxConns, s.cfg.AcquireTimeout, s.cfg.StatementTimeout)
	return nil
}

func (s *story) figures(context.Context) error {
	s.title("What the pool did")
	st := s.pool.Stat()
	s.say("%d times a connection was taken, %d connections were opened for it: %.1f %% reused",
		st.AcquireCount(), st.NewConnsCount(), 100*(1-float64(st.NewConnsCount())/float64(st.AcquireCount())))
	s.say("%s to get one on average; %d in use now",
		(st.AcquireDuration() / time.Duration(st.AcquireCount())).Round(100*time.Nanosecond),
		st.AcquiredConns())
	if st.AcquiredConns() != 0 {
		return fmt.Errorf("%d connections were not given back", st.AcquiredConns())
	}
	return nil
}
