// Package storm measures what comes over a server that was restarted: the connections a second that
// this machine's server starts and refuses, 500 pools against such a server by calculation, and 100
// pools against a real one whose first process is killed.
package storm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgpool"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "storm", Rounds: 3, Run: run,
	Reasons: []harness.Reason{
		{
			Table: `start while the server is away`, Side: `^pgpool`,
			Why: "Connect waits between attempts, longer if the server is full, so that a server that comes up is not " +
				"overrun. A client that asks without a pause is in earlier and costs the server several times the attempts.",
		},
		{
			Table: `running pools`, Side: `^pgpool`,
			Why: "A pool whose last attempt failed lets its callers wait a little before the next one, so that a server " +
				"that comes up is not overrun: fewer attempts for a later end.",
		},
	},
}

var quiet = pgpool.WithLogger(slog.New(slog.DiscardHandler))

const (
	instances = 100                   // pools that fit here: each connection is a process of the server
	callers   = 2                     // of each running pool, which has as many connections
	nextCall  = 20 * time.Millisecond // until the next request comes to a pool whose last one failed
	downFor   = time.Second
	patience  = 5 * time.Second // pgpool's ConnectTimeout
	window    = 100 * time.Millisecond
)

func run(ctx context.Context, r *harness.Report, rounds int) error {
	server, err := harness.StartServer(ctx, nil)
	if err != nil {
		return err
	}
	defer server.Remove()
	const few = 20
	refuse, err := attemptTime(ctx, server, few, true)
	if err != nil {
		return err
	}
	accept, err := attemptTime(ctx, server, callers*instances+20, false)
	if err != nil {
		return err
	}
	perSecond := func(d time.Duration) float64 { return float64(time.Second) / float64(d) }
	r.Printf("\nThe server starts %.0f connections a second and refuses %.0f for lack of room (%s, which the clients "+
		"share)\n", perSecond(accept), perSecond(refuse), harness.Cores())
	calculate(r, accept, refuse)
	return realStorms(ctx, r, server, min(rounds, 5))
}

// attemptTime restarts the server with room for so many connections, and returns how long it takes
// for an attempt while some are always waiting. A full server refuses them.
func attemptTime(ctx context.Context, server *harness.Server, room int, full bool) (time.Duration, error) {
	err := server.Configure(map[string]string{
		"max_connections": strconv.Itoa(room), "superuser_reserved_connections": "0",
	})
	if err != nil {
		return 0, err
	}
	if full {
		for range room {
			conn, err := pgx.Connect(ctx, server.URL)
			if err != nil {
				return 0, err
			}
			defer conn.Close(context.WithoutCancel(ctx))
		}
	}
	var attempts atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range 8 {
		group.Go(func() error {
			for time.Since(began) < 2*time.Second {
				conn, err := pgx.Connect(ctx, server.URL)
				switch {
				case err == nil && !full:
					err = conn.Close(ctx)
				case full && codeOf(err) == noRoom:
					err = nil
				}
				if err != nil {
					return err
				}
				attempts.Add(1)
			}
			return nil
		})
	}
	err = group.Wait()
	return time.Since(began) / time.Duration(max(attempts.Load(), 1)), err
}

const (
	noRoom     = "53300"
	startingUp = "57P03"
)

// codeOf returns the SQLSTATE of an attempt that the server answered, or "".
func codeOf(err error) string {
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// backoff is how long a client waits before its next attempt after its nth has failed, from 1. full:
// the server has no room, and each attempt costs it a process.
type backoff struct {
	name string
	wait func(n int, full bool) time.Duration
}

var backoffs = []backoff{
	{"none", func(int, bool) time.Duration { return 0 }},
	{"250 ms, always", func(int, bool) time.Duration { return 250 * time.Millisecond }},
	{"random up to 50, 100, 200, 250 ms", func(n int, _ bool) time.Duration {
		return fullJitter(n, 250*time.Millisecond)
	}},
	{"the same, up to 2 s if full (Connect)", func(n int, full bool) time.Duration {
		if full {
			return fullJitter(n+2, 2*time.Second)
		}
		return fullJitter(n, 250*time.Millisecond)
	}},
}

func fullJitter(n int, most time.Duration) time.Duration {
	return rand.N(min(most, 50*time.Millisecond<<min(n-1, 10))) + 1
}

// tally is what one side of a storm did.
type tally struct {
	attempts              int
	perWindow             map[int]int // attempts by window since the server went
	up                    int         // the first window in which the server answered
	starting, full, other int         // refused by the server: 57P03, 53300; timed out, reset, …
	allConnected          time.Duration
}

func (t *tally) attempt(since time.Duration) {
	if t.perWindow == nil {
		t.perWindow = map[int]int{}
	}
	t.attempts++
	t.perWindow[int(since/window)]++
}

// figures are the columns of a table: attempts, the most in a window, ever and since the server was
// up, the refusals, and milliseconds until all are connected.
func (t *tally) figures() []float64 {
	ever, up := 0, 0
	for w, n := range t.perWindow {
		ever = max(ever, n)
		if w >= t.up {
			up = max(up, n)
		}
	}
	return []float64{
		float64(t.attempts), float64(ever), float64(up), float64(t.starting), float64(t.full), float64(t.other),
		float64(t.allConnected.Milliseconds()),
	}
}

var head = []string{
	"wait before the next attempt", "attempts", "peak/100 ms", "once it is up", "starting", "no room", "other",
	"all connected, ms",
}

// cells has the median of each figure by itself.
func cells(name string, all ...*tally) []string {
	line := []string{name}
	for i := range head[1:] {
		values := make([]float64, len(all))
		for j, t := range all {
			values[j] = t.figures()[i]
		}
		line = append(line, fmt.Sprintf("%.0f", harness.Quantile(values, 0.5)))
	}
	return line
}
