package pghealth_test

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// serve hands each connection to fn until the listener is closed.
func serve(l net.Listener, fn func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fn(c)
	}
}

// proxy is a TCP proxy that swallows bytes while it is frozen.
type proxy struct {
	port     uint16
	accepted atomic.Int32
	cancels  atomic.Int32 // connections that asked to cancel a query
	frozen   atomic.Bool
	delay    time.Duration // before the first thing that a server says

	mu   sync.Mutex
	open []net.Conn
}

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("the test server's URL does not parse")
	}
	l, port := listen(t)
	p := &proxy{port: port}
	go serve(l, func(client net.Conn) {
		p.accepted.Add(1)
		network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
		server, err := net.Dial(network, address)
		if err != nil {
			client.Close()
			return
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		go p.copy(server, client, true)
		go p.copy(client, server, false)
	})
	t.Cleanup(func() { l.Close(); p.hangUp() })
	return p
}

func (p *proxy) copy(to, from net.Conn, fromClient bool) {
	defer to.Close()
	buf := make([]byte, 8192)
	answered := false
	for first := fromClient; ; first = false {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if first && n >= 8 && binary.BigEndian.Uint32(buf[4:]) == cancelRequest {
			p.cancels.Add(1)
		}
		if !fromClient && !answered && p.delay > 0 {
			time.Sleep(p.delay)
		}
		answered = true
		if p.frozen.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cancelRequest is the code in the first message of such a connection (PostgreSQL's manual,
// "Message Formats").
const cancelRequest = 80877102

// thaw lets bytes through again. What was swallowed is lost, so the connections of the frozen time
// are too.
func (p *proxy) thaw() {
	p.frozen.Store(false)
	p.hangUp()
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}
