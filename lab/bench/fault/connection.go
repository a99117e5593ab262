package fault

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
	pooled = 10 // connections, where the number of lost ones matters
	calls  = 20 // afterwards
)

// serverFaults happen between the program and its server.
var serverFaults = []fault{
	{name: "it comes 2 s after the program", tcp: true, see: tooEarly},
	{
		name:  fmt.Sprintf("it ended its %d sessions, as a restart does: the next %d calls", pooled, calls),
		conns: pooled,
		tcp:   true, see: ended,
	},
	{
		name: "it is frozen, the connection was idle for 1.5 s; ctx has no deadline", waits: true, conns: 1, tcp: true,
		see: frozenAfter(1500 * time.Millisecond),
	},
	{
		name:  "it is frozen, the connection was used a moment ago; ctx has no deadline",
		waits: true, conns: 1, tcp: true,
		see: frozenAfter(0),
	},
}

func tooEarly(ctx context.Context, s *scene) (cell, error) {
	s.network.Refuse()
	time.AfterFunc(2*time.Second, s.network.Heal)
	began := time.Now()
	if err := s.start(ctx, 1); err != nil {
		return cell{"does not start: " + said(err) + " " + after(time.Since(began)), told}, nil
	}
	return cell{"starts " + after(time.Since(began)), right}, nil
}

func ended(ctx context.Context, s *scene) (cell, error) {
	var sessions sync.Map
	s.network.OnRequest(func(r faultkit.Request) faultkit.Cut {
		sessions.Store(r.PID, nil)
		return faultkit.Pass
	})
	if err := s.fill(ctx, pooled); err != nil {
		return cell{}, err
	}
	var err error
	sessions.Range(func(pid, _ any) bool {
		_, err = s.admin.Exec(ctx, "select pg_terminate_backend($1, 5000)", int32(pid.(uint32)))
		return err == nil
	})
	for s.network.Stats().Open > 0 && ctx.Err() == nil { // wait until the program's side is closed too
		time.Sleep(5 * time.Millisecond)
	}
	return s.callAgain(ctx), err
}

func frozenAfter(idle time.Duration) func(context.Context, *scene) (cell, error) {
	return func(ctx context.Context, s *scene) (cell, error) {
		if err := s.exec(ctx, "select 1"); err != nil {
			return cell{}, err
		}
		time.Sleep(idle) // the subject
		s.network.Freeze(faultkit.Both)
		defer s.network.Heal()
		return s.waits(ctx, func(ctx context.Context) error { return s.exec(ctx, "select 1") }), nil
	}
}

// connectionFaults affect single calls.
var connectionFaults = []fault{
	{
		name: "a statement never ends, ctx has no deadline", waits: true, conns: 1,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.waits(ctx, func(ctx context.Context) error { return s.exec(ctx, "select pg_sleep(3600)") }), nil
		},
	},
	{
		name: "a transaction has the only connection, and a query goes to the pool; ctx has no deadline", waits: true,
		conns: 1, see: queryBeside,
	},
	{
		name:  fmt.Sprintf("the network cut %d connections, idle for a moment: the next %d calls", pooled, calls),
		conns: pooled, tcp: true, see: cutIdle,
	},
	{
		name: "the network cut the answer to an update without a transaction and arguments", conns: 1, tcp: true,
		see: cutAnswer,
	},
}

// queryBeside sends a query to the pool while a transaction holds its only connection.
func queryBeside(ctx context.Context, s *scene) (c cell, err error) {
	err = s.transaction(ctx, func(ctx context.Context, exec execution) error {
		if err := exec(ctx, "select 1"); err != nil {
			return err
		}
		c = s.waits(ctx, func(ctx context.Context) error { return s.exec(ctx, "select 1") })
		return nil
	})
	return c, err
}

func cutIdle(ctx context.Context, s *scene) (cell, error) {
	if err := s.fill(ctx, pooled); err != nil {
		return cell{}, err
	}
	s.network.Sever()
	return s.callAgain(ctx), nil
}

// fill opens n connections by using them at the same time, and leaves them idle.
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

// callAgain makes the calls after a fault, one after the other.
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

// cutAnswer shows the risk of the calls that database/sql saves after a cut. database/sql repeats a
// statement that pgconn.SafeToRetry reports as unsent. pgx 5.12 reports that even for a statement
// without arguments that was sent and got no answer.
func cutAnswer(ctx context.Context, s *scene) (cell, error) {
	update, met := fmt.Sprintf("update %s set n = n + 1", s.table), atomic.Bool{}
	s.network.OnRequest(func(r faultkit.Request) faultkit.Cut {
		if strings.Contains(r.SQL, update) && met.CompareAndSwap(false, true) {
			return faultkit.BeforeAnswer
		}
		return faultkit.Pass
	})
	return s.outcome(ctx, s.exec(ctx, update))
}
