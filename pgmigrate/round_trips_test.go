package pgmigrate_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// A run with nothing to do is one round trip after connecting, with a history and without, and
// takes no lock.
func TestNothingToDoRoundTrips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := migrator(t, b, three()).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy := newCountingProxy(t, b.config, 0)
	m, err := pgmigrate.New(proxy.config, three(), pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	// Whoever holds the lock: a run that asked for it would wait.
	if _, err := b.conn.Exec(t.Context(), "select pg_advisory_lock($1)", ternLock); err != nil {
		t.Fatal(err)
	}
	for _, history := range []string{"with", "without"} {
		if history == "without" {
			b.exec(t, "drop schema pgmigrate cascade")
		}
		proxy.ready.Store(0)
		if r, err := m.Up(t.Context()); err != nil || len(r.Steps) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		// The server is ready once after connecting, and once after each round trip.
		n := proxy.ready.Load() - 1
		t.Logf("%s history: %d round trips after connecting", history, n)
		if n != 1 {
			t.Errorf("%s history: %d round trips, want 1", history, n)
		}
	}
}

// countingProxy counts how often the server says that it is ready for a query.
type countingProxy struct {
	config *pgx.ConnConfig
	ready  atomic.Int32
}

// newCountingProxy puts a proxy before the server of target. delay is what it adds to each round
// trip.
func newCountingProxy(t testing.TB, target *pgx.ConnConfig, delay time.Duration) *countingProxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgp") // a socket's path may only have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	p := &countingProxy{config: target.Copy()}
	p.config.Host, p.config.Port, p.config.Fallbacks = dir, 5432, nil
	network, address := "tcp", net.JoinHostPort(target.Host, strconv.Itoa(int(target.Port)))
	if filepath.IsAbs(target.Host) {
		network, address = "unix", filepath.Join(target.Host, ".s.PGSQL."+strconv.Itoa(int(target.Port)))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			wg.Go(func() {
				send(server, client, delay)
				server.Close()
			})
			wg.Go(func() {
				p.relay(client, server)
				client.Close()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return p
}

// send passes on what the client sends, a round trip's worth at a time.
func send(server io.Writer, client io.Reader, delay time.Duration) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		time.Sleep(delay)
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// relay passes the server's messages on: a byte of type, four of length, counted from there.
func (p *countingProxy) relay(client io.Writer, server io.Reader) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(server, head); err != nil {
			return
		}
		if head[0] == 'Z' {
			p.ready.Add(1)
		}
		if _, err := client.Write(head); err != nil {
			return
		}
		if _, err := io.CopyN(client, server, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return
		}
	}
}
