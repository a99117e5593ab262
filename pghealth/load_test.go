package pghealth_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// 1,000 probes a second for ten seconds during a query load, in turns with the load alone. It takes
// half a minute and needs a quiet machine, so a variable enables it. Client, server, load and
// database share the machine, so the cost of a plain handler is measured too.
func TestThousandProbesASecond(t *testing.T) {
	if os.Getenv("PGHEALTH_LOAD") == "" {
		t.Skip("set PGHEALTH_LOAD=1")
	}
	const (
		rate = 1000
		turn = 100 * time.Millisecond
	)
	dials := make(chan struct{}, 10000)
	url := pgserver.Database(t)
	probed := newPool(t, url, dialed(dials))
	probe, _ := newProbe(t, probed, pghealth.Options{MaxAge: pghealth.DefaultMaxAge})
	ready := newFlood(t, probe.Ready())
	plain := newFlood(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_,
			_ = io.WriteString(w, "ok\n")
	}))
	pool := newPool(t, url)
	acquire(t, pool)()

	most := 0
	took := make([][]time.Duration, 3) // median of each turn: alone, with probes, with a plain handler
	for round := 0; ready.lasted < 10*time.Second; round++ {
		for i := range took {
			kind := (i + round) % len(took) // the order changes each round
			ctx, cancel := context.WithTimeout(t.Context(), turn)
			var wait sync.WaitGroup
			switch kind {
			case 1:
				wait.Go(func() { ready.run(ctx, rate) })
			case 2:
				wait.Go(func() { plain.run(ctx, rate) })
			}
			took[kind] = append(took[kind], load(t, ctx, pool))
			wait.Wait()
			cancel()
		}
		most = max(most, sessions(t, pool))
	}
	t.Logf("%d probes in %v, %d not 200; %d connections made, %d open at once",
		ready.sent.Load(), ready.lasted.Round(time.Millisecond), ready.failed.Load(), len(dials), most)
	t.Logf("a query takes %v alone; with probes %s; with a handler that writes ok %s; probes against that handler %s",
		median(took[0]), ratio(took[1], took[0]), ratio(took[2], took[0]), ratio(took[1], took[2]))
	if ready.sent.Load() < 9*rate || ready.failed.Load() > 0 || len(dials) != 1 || most > 1 {
		t.Error("too few probes, failures, or more than one connection")
	}
}

// load runs one query after another, like a request handler that does other work in between. It
// returns the median.
func load(t *testing.T, ctx context.Context, pool *pgxpool.Pool) time.Duration {
	t.Helper()
	var took []time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		var n int
		if err := pool.QueryRow(t.Context(), "select count(*) from generate_series(1, 5000)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	return median(took)
}

func median(took []time.Duration) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[len(took)/2]
}

// ratio compares turn by turn and returns the median and the quartiles.
func ratio(a, b []time.Duration) string {
	var all []float64
	for i := range a {
		all = append(all, float64(a[i])/float64(b[i]))
	}
	slices.Sort(all)
	return fmt.Sprintf("×%.3f (quartiles %.3f and %.3f)", all[len(all)/2], all[len(all)/4], all[len(all)*3/4])
}

// flood asks a handler over HTTP, on connections that stay open.
type flood struct {
	conns        []net.Conn
	lasted       time.Duration
	sent, failed atomic.Int64
}

func newFlood(t *testing.T, h http.Handler) *flood {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	f := &flood{}
	for range 4 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		f.conns = append(f.conns, conn)
	}
	return f
}

func (f *flood) run(ctx context.Context, rate int) {
	began := time.Now()
	var wait sync.WaitGroup
	for _, conn := range f.conns {
		wait.Go(func() { f.ask(ctx, conn, rate/len(f.conns)) })
	}
	wait.Wait()
	f.lasted += time.Since(began)
}

func (f *flood) ask(ctx context.Context, conn net.Conn, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	answers := bufio.NewReader(conn)
	for began, sent := time.Now(), 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began) * time.Duration(rate) / time.Second); sent < due; sent++ {
			f.sent.Add(1)
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				f.failed.Add(1)
				return
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				f.failed.Add(1)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				f.failed.Add(1)
			}
		}
	}
}
