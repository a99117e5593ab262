package pgpool_test

import (
	"context"
	"crypto/tls"
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
	black   atomic.Bool  // accept, and answer nothing
	gate    sync.RWMutex // locked: what is on its way stays there, on connections that exist too
	tls     *tls.Config  // speak TLS to the client

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]struct{}
	running  sync.WaitGroup
}

// through makes config connect through a proxy, which refuses until it is started.
func through(t *testing.T, config *pgxpool.Config) *proxy {
	t.Helper()
	// The port was free a moment ago. Listening and closing again is the only way to know one that
	// refuses.
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
	if p.tls != nil {
		_, _ = io.ReadFull(client, make([]byte, 8)) // SSLRequest
		_, _ = client.Write([]byte("S"))
		secured := tls.Server(client, p.tls)
		if secured.Handshake() != nil {
			_, _ = io.Copy(io.Discard, client) // a close with unread data would be a reset, and overtake the alert
			return
		}
		client = secured
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
		_, _ = io.Copy(gated{client, p}, server)
	}()
	_, _ = io.Copy(gated{server, p}, client)
	server.Close()
}

type gated struct {
	net.Conn
	p *proxy
}

func (g gated) Write(b []byte) (int, error) {
	g.p.gate.RLock()
	defer g.p.gate.RUnlock()
	return g.Conn.Write(b)
}

// ReadFrom hides the connection's own, which would pass by Write.
func (g gated) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{g}, r)
}

// freeze makes it a black hole for all connections until the returned function is called.
func (p *proxy) freeze() (thaw func()) {
	p.black.Store(true)
	p.gate.Lock()
	return sync.OnceFunc(func() {
		p.black.Store(false)
		p.gate.Unlock()
	})
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
