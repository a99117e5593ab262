package fault

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const (
	pooled = 10 // connections, where it matters how many were lost
	calls  = 20 // afterwards
)

// connectionFaults meet single calls.
var connectionFaults = []fault{
	{name: "a statement never ends, ctx has no deadline", waits: true, conns: 1,
		see: func(ctx context.Context, s *scene) (cell, error) {
			return s.waits(ctx, func(ctx context.Context) error { return s.exec(ctx, "select pg_sleep(3600)") }), nil
		}},
	{name: "all connections are in use, ctx has no deadline", waits: true, conns: 1,
		see: func(ctx context.Context, s *scene) (cell, error) { return s.queryIn(ctx, true) }},
	{name: "in a transaction, a query goes to the pool and not to it; one connection", waits: true, conns: 1,
		see: func(ctx context.Context, s *scene) (cell, error) { return s.queryIn(ctx, false) }},
	{name: fmt.Sprintf("the network cut %d connections, idle for a moment: the next %d calls", pooled, calls), conns: pooled,
		tcp: true, see: cutAfter(0)},
	{name: "the same, idle for 1.5 s", conns: pooled, tcp: true, see: cutAfter(1500 * time.Millisecond)},
	{name: "the network cut the answer to an update without a transaction and arguments", conns: 1, tcp: true,
		see: cutAnswer},
	{name: "ctx ends while a statement runs; the next call, one connection", conns: 1, see: endedStatement},
}

// queryIn sends a query to the pool while a transaction has its only connection: with the ctx of the
// transaction, or with that of another request.
func (s *scene) queryIn(other context.Context, isOther bool) (c cell, err error) {
	err = s.transaction(other, func(ctx context.Context, exec execution) error {
		if err := exec(ctx, "select 1"); err != nil {
			return err
		}
		if isOther {
			ctx = other
		}
		c = s.waits(ctx, func(ctx context.Context) error { return s.exec(ctx, "select 1") })
		return nil
	})
	return c, err
}

func cutAfter(idle time.Duration) func(context.Context, *scene) (cell, error) {
	return func(ctx context.Context, s *scene) (cell, error) {
		if err := s.fill(ctx, pooled); err != nil {
			return cell{}, err
		}
		time.Sleep(idle) // the subject
		s.network.Sever()
		return s.callAgain(ctx), nil
	}
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

// cutAnswer shows the price of the calls that database/sql saves after a cut: it repeats a statement
// that pgconn.SafeToRetry calls unsent, which pgx 5.12 does for one without arguments whose answer
// was lost.
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

func endedStatement(ctx context.Context, s *scene) (cell, error) {
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.exec(short, "select pg_sleep(60)")
	took := time.Since(began)
	if err == nil {
		return cell{"succeeds, though it cannot have", wrong}, nil
	}
	next, ended, err := endless(ctx, s.limit, func(ctx context.Context) error { return s.exec(ctx, "select 1") })
	if !ended || err != nil {
		return waited(next, ended, err, s.limit), nil
	}
	c := cell{fmt.Sprintf("returns %s, the next %s", after(took), after(next)), right}
	if took > 3*time.Second || next > 3*time.Second {
		c.grade = unclear
	}
	return c, nil
}

const secret = "cherry-tree-48" // not the right password

// configurationFaults are mistakes in DATABASE_URL. A user is called localhost so that a program
// that takes it for the host asks no name server.
var configurationFaults = []fault{
	{name: "DATABASE_URL is not set", see: misconfigured("", "DATABASE_URL")},
	{name: "its host is left out", see: misconfigured("postgres://app:"+secret+"@/app", "host")},
	{name: "its password has a / that is not encoded",
		see: misconfigured("postgres://localhost:1/"+secret+"@127.0.0.1:1/app", "%2F")},
	{name: "its password has a % that is not encoded",
		see: misconfigured("postgres://app:1%"+secret+"@127.0.0.1:1/app", "%25", "percent-encoded")},
	{name: "a parameter is misspelled", see: func(ctx context.Context, s *scene) (cell, error) {
		return s.refusal(ctx, s.url+"&sslmod=disable", "sslmod"), nil
	}},
	{name: "the password is wrong", see: func(ctx context.Context, s *scene) (cell, error) {
		cfg, err := harness.ConnConfig(s.url)
		if err != nil {
			return cell{}, err
		}
		return s.refusal(ctx, fmt.Sprintf("postgres://%s:%s@/%s?host=%s&port=%d", passwordRole, secret, cfg.Database,
			cfg.Host, cfg.Port), "password"), nil
	}},
}

func misconfigured(url string, advice ...string) func(context.Context, *scene) (cell, error) {
	return func(ctx context.Context, s *scene) (cell, error) { return s.refusal(ctx, url, advice...), nil }
}

// refusal starts the program. A good error has one of the words of advice in it, and a bad one the
// password.
func (s *scene) refusal(ctx context.Context, url string, advice ...string) cell {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // for a program that goes on with another server
	defer cancel()
	s.url = url
	err := s.start(ctx, 1)
	switch {
	case err == nil:
		return cell{"starts, on whatever server that is", wrong}
	case strings.Contains(err.Error(), secret):
		return cell{"the error shows the password", wrong}
	case slices.ContainsFunc(advice, func(a string) bool { return strings.Contains(err.Error(), a) }):
		return cell{"the error says what is wrong", right}
	default:
		return cell{"the error does not say what is wrong", unclear}
	}
}
