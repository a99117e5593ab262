package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const (
	pooled = 10 // connections, where it matters how many were lost
	calls  = 20 // afterwards
)

// connectionFaults meet single calls.
var connectionFaults = []fault{
	{"a statement never ends, ctx has no deadline", true, neverEnding},
	{"all connections are in use, ctx has no deadline", true, exhausted},
	{"in a transaction, a query goes to the pool and not to it; one connection", true, queryBesideTransaction},
	{
		fmt.Sprintf("the network cut %d connections, idle for a moment: the next %d calls",
			pooled, calls), false, cutIdle,
	},
	{"the same, idle for 1.5 s", false, cutLongIdle},
	{"the network cut the answer to an update without a transaction and arguments", false, cutAnswer},
	{"ctx ends while a statement runs; the next call, one connection", false, endedStatement},
}

func neverEnding(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	took, ended, err := endless(ctx, s.limit, func(ctx context.Context) error {
		return p.exec(ctx, "select pg_sleep(3600)")
	})
	return waited(took, ended, err, s.limit), nil
}

func exhausted(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	var c cell
	err = p.transaction(ctx, func(ctx context.Context, exec execution) error {
		if err := exec(ctx, "select 1"); err != nil {
			return err
		}
		done := make(chan struct{})
		go func() { // another request
			defer close(done)
			took, ended, err := endless(context.WithoutCancel(s.ctx), s.limit, func(ctx context.Context) error {
				return p.exec(ctx, "select 1")
			})
			c = waited(took, ended, err, s.limit)
		}()
		<-done
		return nil
	})
	return c, err
}

func queryBesideTransaction(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	var c cell
	err = p.transaction(ctx, func(ctx context.Context, exec execution) error {
		if err := exec(ctx, "select 1"); err != nil {
			return err
		}
		took, ended, err := endless(ctx, s.limit, func(ctx context.Context) error { return p.exec(ctx, "select 1") })
		c = waited(took, ended, err, s.limit)
		return nil
	})
	return c, err
}

func cutIdle(ctx context.Context, s *scene) (cell, error) { return cutAfter(ctx, s, 0) }

func cutLongIdle(ctx context.Context, s *scene) (cell, error) {
	return cutAfter(ctx, s, 1500*time.Millisecond)
}

func cutAfter(ctx context.Context, s *scene, idle time.Duration) (cell, error) {
	network := s.overTCP()
	p, err := s.start(ctx, pooled)
	if err != nil {
		return cell{}, err
	}
	if err := p.fill(ctx, pooled); err != nil {
		return cell{}, err
	}
	time.Sleep(idle) // the subject
	network.Sever()
	return p.callAgain(ctx), nil
}

// fill opens n connections, by using them at the same time, and leaves them idle.
func (p *program) fill(ctx context.Context, n int) error {
	for range 2 { // database/sql over pgx checks a connection before its second use
		var errs errgroup.Group
		var all sync.WaitGroup
		all.Add(n)
		for range n {
			errs.Go(func() error {
				arrive := sync.OnceFunc(all.Done)
				defer arrive()
				return p.transaction(ctx, func(ctx context.Context, exec execution) error {
					err := exec(ctx, "select 1")
					arrive()
					all.Wait()
					return err
				})
			})
		}
		if err := errs.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// callAgain makes the calls that come after a fault, one after the other.
func (p *program) callAgain(ctx context.Context) cell {
	failed := 0
	for range calls {
		if p.exec(ctx, "select 1") != nil {
			failed++
		}
	}
	switch failed {
	case 0:
		return cell{"none fails", right}
	case 1:
		return cell{"1 fails", told}
	default:
		return cell{fmt.Sprintf("%d fail", failed), unclear}
	}
}

// cutAnswer is the price of the calls that database/sql saves after a cut: it repeats a statement
// of which pgconn.SafeToRetry says that it was not sent, and pgx v5.12 says so of one without
// arguments whose answer was lost.
func cutAnswer(ctx context.Context, s *scene) (cell, error) {
	network := s.overTCP()
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	update, met := fmt.Sprintf("update %s set n = n + 1", s.table), atomic.Bool{}
	network.OnRequest(func(r faultkit.Request) faultkit.Cut {
		if strings.Contains(r.SQL, update) && met.CompareAndSwap(false, true) {
			return faultkit.BeforeAnswer
		}
		return faultkit.Pass
	})
	told := p.exec(ctx, update)
	return s.outcome(ctx, told)
}

func endedStatement(ctx context.Context, s *scene) (cell, error) {
	p, err := s.start(ctx, 1)
	if err != nil {
		return cell{}, err
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = p.exec(short, "select pg_sleep(60)")
	took := time.Since(began)
	if err == nil {
		return cell{"succeeds, though it cannot have", wrong}, nil
	}
	next, ended, err := endless(ctx, s.limit, func(ctx context.Context) error { return p.exec(ctx, "select 1") })
	if !ended || err != nil {
		return waited(next, ended, err, s.limit), nil
	}
	c := cell{fmt.Sprintf("returns %s, the next %s", after(took), after(next)), right}
	if took > 3*time.Second || next > 3*time.Second {
		c.grade = unclear
	}
	return c, nil
}
