package pgpool_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// proxy stands between a pool and the server: a TCP port that can refuse, forward or swallow.
type proxy struct {
	address string // on loopback
	network string // of the server
	server  string
	black   atomic.Bool // accept, and answer nothing

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]struct{}
	running  sync.WaitGroup
}

// through makes config connect through a proxy, which refuses until it is started.
func through(t *testing.T, config *pgxpool.Config) *proxy {
	t.Helper()
	// The port was free a moment ago. Listening and closing again is the only way to know one that refuses.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: listener.Addr().String(), open: map[net.Conn]struct{}{}}
	listener.Close()
	p.network, p.server = pgconn.NetworkAddress(config.ConnConfig.Host, config.ConnConfig.Port)
	config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", p.address)
	}
	t.Cleanup(p.stop)
	return p
}

func (p *proxy) start() error {
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.track(client)
			p.running.Add(1)
			go p.serve(client)
		}
	}()
	return nil
}

func (p *proxy) track(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[conn] = struct{}{}
}

func (p *proxy) serve(client net.Conn) {
	defer p.running.Done()
	defer client.Close()
	if p.black.Load() {
		_, _ = io.Copy(io.Discard, client)
		return
	}
	server, err := net.Dial(p.network, p.server)
	if err != nil {
		return
	}
	p.track(server)
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		defer client.Close()
		_, _ = io.Copy(client, server)
	}()
	_, _ = io.Copy(server, client)
	server.Close()
}

func (p *proxy) stop() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
	}
	for conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
