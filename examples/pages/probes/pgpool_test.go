package probes_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/probes"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/listen"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The values of the other modules fit without an adapter.
var (
	_ pghealth.Schema   = (*pgmigrate.Migrator)(nil)
	_ pghealth.Listener = (*listen.Listener)(nil)
)

// slowSocket delays the server's first message, like a slow login.
type slowSocket struct {
	net.Conn
	delay time.Duration
}

func (s *slowSocket) Read(p []byte) (int, error) {
	time.Sleep(s.delay) // this test is about a slow answer
	s.delay = 0
	return s.Conn.Read(p)
}

// pgpool limits connections that look like cancel requests to 2 s. The probe's connection on such a
// pool lives longer, even if the login takes longer.
func TestProbeOnAPoolOfPgpool(t *testing.T) {
	t.Parallel()
	for name, login := range map[string]time.Duration{"quick login": 0, "slow login": 2500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := pgxpool.ParseConfig(pgserver.Database(t))
			if err != nil {
				t.Fatal("the test server's URL does not parse")
			}
			var slow atomic.Int64
			var dials atomic.Int32
			dial := cfg.ConnConfig.DialFunc
			cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				conn, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &slowSocket{conn, time.Duration(slow.Load())}, nil
			}
			pool, err := pgpool.ConnectConfig(t.Context(), cfg, pgpool.WithLogger(nil))
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			slow.Store(int64(login))
			before := dials.Load()
			probe, err := pghealth.New(pool, pghealth.Options{MaxAge: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer probe.Close()
			server := httptest.NewServer(probes.Mount(probe, http.NotFoundHandler(), 1))
			defer server.Close()

			for deadline := time.Now().Add(20 * time.Second); status(t, server, "/readyz") != 200; {
				if time.Now().After(deadline) {
					t.Fatal("not ready after 20 s")
				}
				time.Sleep(100 * time.Millisecond) // polls
			}
			first := dials.Load() - before
			time.Sleep(2500 * time.Millisecond) // longer than pgpool's limit
			if code := status(t, server, "/readyz"); code != 200 {
				t.Errorf("after the limit: %d", code)
			}
			if all := dials.Load() - before; first != 1 || all != 1 {
				t.Errorf("%d connections until it was ready, %d in all", first, all)
			}
			if held := pgpool.Holders(pool); len(held) != 0 {
				t.Errorf("the probe holds a connection of the pool: %v", held)
			}
		})
	}
}
