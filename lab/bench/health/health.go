// Package health compares pghealth with other health endpoints: the cost of a probe, a flood of
// probes, a frozen server and an exhausted pool.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	liesenfeld "github.com/alexliesenfeld/health"
	hellofresh "github.com/hellofresh/health-go/v5"
	hellofreshpgx "github.com/hellofresh/health-go/v5/checks/pgx5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "health", Rounds: 20, Run: run,
	Reasons: []harness.Reason{
		{
			Side: `MaxAge: -1`,
			Why: "Each request asks what the server's connections and transactions do, on a connection of the " +
				"probe's own, where the peers ping.",
		},
		{
			Side: `^pghealth`,
			Why: "An answer from recent results is still written with the figures of every check, as " +
				"application/health+json.",
		},
	},
}

// prober makes the handler of a health endpoint for the database of a pool.
type prober struct {
	name string
	open func(url string, pool *pgxpool.Pool) (handler http.Handler, end func(), err error)
}

// probers are written as their documentation shows. Those with a cache appear again without it.
var probers = []prober{
	{"health, pool.Ping, no cache", pinging(liesenfeld.WithDisabledCache())},
	{"health, pool.Ping", pinging()},
	{"health-go, pgx5", func(url string, _ *pgxpool.Pool) (http.Handler, func(), error) {
		h, err := hellofresh.New(hellofresh.WithChecks(hellofresh.Config{
			Name: "postgres", Timeout: 2 * time.Second, Check: hellofreshpgx.New(hellofreshpgx.Config{DSN: url}),
		}))
		if err != nil {
			return nil, nil, err
		}
		return h.Handler(), func() {}, nil
	}},
	{"pghealth", probing(0)},
	{"pghealth, MaxAge: -1", probing(-1)},
}

func pinging(opts ...liesenfeld.CheckerOption) func(string, *pgxpool.Pool) (http.Handler, func(), error) {
	return func(_ string, pool *pgxpool.Pool) (http.Handler, func(), error) {
		checker := liesenfeld.NewChecker(append([]liesenfeld.CheckerOption{
			liesenfeld.WithTimeout(10 * time.Second),
			liesenfeld.WithCheck(liesenfeld.Check{Name: "database", Timeout: 2 * time.Second, Check: pool.Ping}),
		}, opts...)...)
		return liesenfeld.NewHandler(checker), checker.Stop, nil
	}
}

func probing(maxAge time.Duration) func(string, *pgxpool.Pool) (http.Handler, func(), error) {
	return func(_ string, pool *pgxpool.Pool) (http.Handler, func(), error) {
		probe, err := pghealth.New(pool, pghealth.Options{MaxAge: maxAge, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, nil, err
		}
		return probe.Ready(), probe.Close, nil
	}
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		_, url := harness.StartServer(t, nil)
		if err := times(ctx, r, url, rounds); err != nil {
			return err
		}
		if err := floods(ctx, r, url, 64); err != nil {
			return err
		}
		_, err := faults(ctx, r, fault.NewProxy(t, url, fault.Options{}), 4)
		return err
	})
}

// times measures probes one after another.
func times(ctx context.Context, r *harness.Report, url string, rounds int) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	sides := make([]harness.Side, len(probers))
	for i, p := range probers {
		handler, end, err := p.open(url, pool)
		if err != nil {
			return err
		}
		defer end()
		sides[i] = harness.Side{Name: p.name, Op: func(context.Context) error {
			if code := ask(handler); code != http.StatusOK {
				return fmt.Errorf("the answer is %d", code)
			}
			return nil
		}}
	}
	return r.Compare(ctx, "A probe request", rounds, 10, sides...)
}

// ask sends one probe.
func ask(handler http.Handler) (code int) {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	return answer.Code
}

// answers are the answers to probes sent at the same time.
type answers struct {
	codes map[int]int
	times []time.Duration
}

// askAtOnce sends probes from many callers, each one probe after another.
func askAtOnce(handler http.Handler, callers, inRow int) answers {
	a := answers{codes: map[int]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range inRow {
				began := time.Now()
				code := ask(handler)
				took := time.Since(began)
				mu.Lock()
				a.codes[code]++
				a.times = append(a.times, took)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return a
}

func (a answers) String() string {
	said := make([]string, 0, len(a.codes))
	for _, code := range slices.Sorted(maps.Keys(a.codes)) {
		said = append(said, fmt.Sprintf("%d × %d", a.codes[code], code))
	}
	return strings.Join(said, ", ")
}

func (a answers) at(q float64) string { return harness.Short(harness.Quantile(a.times, q)).String() }

// floods prints the cost of many concurrent probes, in sessions and transactions that the server
// counts. A single statement counts as a transaction, and so do preparing a statement and starting
// a session.
func floods(ctx context.Context, r *harness.Report, url string, callers int) error {
	const inRow = 5
	cfg, err := harness.ConnConfig(url)
	if err != nil {
		return err
	}
	cfg.Database = "postgres" // the observer's own queries do not count
	observer, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer observer.Close(context.WithoutCancel(ctx))
	var cells [][]string
	for _, p := range probers {
		sessions, transactions, err := count(ctx, observer)
		if err != nil {
			return err
		}
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return err
		}
		handler, end, err := p.open(url, pool)
		if err != nil {
			pool.Close()
			return err
		}
		a := askAtOnce(handler, callers, inRow)
		end()
		pool.Close()
		sessionsAfter, transactionsAfter, err := count(ctx, observer)
		if err != nil {
			return err
		}
		cells = append(cells, []string{
			p.name, fmt.Sprint(sessionsAfter - sessions), fmt.Sprint(transactionsAfter - transactions), a.String(),
			a.at(0.5), a.at(1),
		})
	}
	r.Grid(fmt.Sprintf("%d callers, %d probes in a row each, %s: what reaches the database", callers, inRow,
		harness.Cores()), []string{"", "connections", "transactions", "answers", "median", "slowest"}, cells...)
	return nil
}

// count waits until no session is connected, because the server counts a session at its end.
func count(ctx context.Context, observer *pgx.Conn) (sessions, transactions int, err error) {
	for n := 1; n > 0 && err == nil; {
		time.Sleep(10 * time.Millisecond)
		err = observer.QueryRow(ctx, "select count(*) from pg_stat_activity where datname = 'app'").Scan(&n)
	}
	if err == nil {
		err = observer.QueryRow(ctx, "select sessions, xact_commit + xact_rollback from pg_stat_database "+
			"where datname = 'app'").Scan(&sessions, &transactions)
	}
	return sessions, transactions, err
}

// remembered is longer than any prober caches an answer.
const remembered = 1100 * time.Millisecond

// faulted holds a prober's answers in each fault.
type faulted struct{ exhausted, frozen answers }

// faults prints the answers of all probers at the same time. First the application uses all
// connections of the pool. Then nothing reaches the server, as if it were frozen.
func faults(ctx context.Context, r *harness.Report, network *fault.Proxy, callers int) (_ []faulted, err error) {
	const conns = 4
	handlers, pools := make([]http.Handler, len(probers)), make([]*pgxpool.Pool, len(probers))
	for i, p := range probers {
		if pools[i], err = harness.Pool(ctx, network.URL(), conns); err != nil {
			return nil, err
		}
		defer pools[i].Close()
		handler, end, err := p.open(network.URL(), pools[i])
		if err != nil {
			return nil, err
		}
		defer end()
		handlers[i] = handler
	}
	results := make([]faulted, len(probers))
	all := func(fn func(i int) error) error {
		var group errgroup.Group
		for i := range probers {
			group.Go(func() error { return fn(i) })
		}
		return group.Wait()
	}
	ready := func(i int) error { return untilReady(ctx, handlers[i]) }

	if err := all(ready); err != nil {
		return nil, err
	}
	var taken []*pgxpool.Conn
	for _, pool := range pools {
		for range conns {
			conn, e := pool.Acquire(ctx)
			if e == nil {
				taken = append(taken, conn)
			}
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		time.Sleep(remembered)
		_ = all(func(i int) error { results[i].exhausted = askAtOnce(handlers[i], callers, 1); return nil })
	}
	for _, conn := range taken {
		conn.Release()
	}
	if err := errors.Join(err, all(ready)); err != nil {
		return nil, err
	}

	time.Sleep(remembered)
	network.Freeze(fault.Both)
	_ = all(func(i int) error { results[i].frozen = askAtOnce(handlers[i], callers, 1); return nil })
	network.Heal()
	var cells [][]string
	for i, f := range results {
		cells = append(cells, []string{
			probers[i].name, f.exhausted.String(), f.exhausted.at(0), f.exhausted.at(1),
			f.frozen.String(), f.frozen.at(0), f.frozen.at(1),
		})
	}
	r.Grid(fmt.Sprintf("%d probes at once while the application uses all %d connections of the pool, and while the "+
		"server is frozen", callers, conns), []string{"", "exhausted", "first", "last", "frozen", "first", "last"},
		cells...)
	return results, nil
}

// untilReady asks until the answer is 200.
func untilReady(ctx context.Context, handler http.Handler) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for ask(handler) != http.StatusOK {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("no probe was answered with 200 within a minute")
		}
	}
	return nil
}
