// Package fault breaks things on purpose: connections, servers and poolers that belong to one test.
//
//   - [Proxy] stands between a program and a server. It refuses, severs, freezes, delays and slows
//     connections, and cuts them at a chosen request, such as COMMIT.
//   - [Server] is a PostgreSQL server that a test may kill, restart, replicate and promote.
//   - [PgBouncer] puts a connection pooler in front of a server.
//
// Everything ends with the test that made it. A failure of the kit itself fails the test and names
// what failed; no error holds a password.
package fault

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Options of a [Proxy]. The zero value listens on a port of 127.0.0.1 and offers no TLS.
type Options struct {
	// Unix makes the proxy listen on a Unix socket that only this process's user can reach, instead
	// of a TCP port that every user of the machine can reach.
	Unix bool

	// TLS makes the proxy offer TLS with this configuration, for example with a certificate of
	// [NewCertificate]. The proxy decrypts what it passes on. Whether it uses TLS to reach the
	// server depends only on the server's connection string. Defaults to no TLS.
	TLS *tls.Config

	// Raw makes the proxy pass all bytes on unread, so that a client can use the server's own TLS.
	// Requests cannot be cut, and Stats counts connections only.
	Raw bool
}

// Proxy stands between clients and a server and breaks their connections on demand. Faults act on
// present and future connections, and add up; Heal ends them. It starts without a fault.
//
// All methods may be called concurrently, and from any goroutine.
type Proxy struct {
	t        pgserver.TB
	opts     Options
	port     *port
	url      string
	sessions sync.WaitGroup
	ctx      context.Context // done when the test ends
	cancel   context.CancelFunc
	links    [2]link // ToServer, FromServer

	mu       sync.Mutex
	target   target
	accepts  bool
	open     map[*session]struct{}
	stats    Stats
	onAsk    func(Request) Cut
	commits  int // COMMITs that are still to be cut; below zero: all
	commitAt Cut
}

// NewProxy puts a proxy in front of the server that connString names: the first one, if it names
// several. The proxy and all connections through it end with the test.
func NewProxy(t pgserver.TB, connString string, opts Options) *Proxy {
	t.Helper()
	target, err := parseTarget(connString)
	if err != nil {
		t.Fatalf("fault: proxy: %v", err)
		return nil
	}
	port, err := openPort(opts.Unix)
	if err != nil {
		t.Fatalf("fault: proxy: %v", err)
		return nil
	}
	p := &Proxy{t: t, opts: opts, port: port, target: target, open: map[*session]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	p.url = target.url(port, opts)
	t.Cleanup(p.close)
	if err := p.listen(); err != nil {
		t.Fatalf("fault: proxy: %v", err)
		return nil
	}
	return p
}

// URL returns a connection string for the same user, password, database and parameters through the
// proxy. Its sslmode is disable, or require if the proxy has TLS; a Raw proxy keeps the server's.
func (p *Proxy) URL() string { return p.url }

// Addr returns the proxy's address on loopback, as HOST:PORT, or the path of its socket.
func (p *Proxy) Addr() string { return p.port.address }

// Dial connects to the proxy and ignores the address. As the DialFunc of a pgx configuration it
// sends all connections through the proxy, and the rest of the configuration stays as it is.
func (p *Proxy) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, p.port.network, p.port.address)
}

// Redirect makes new connections go to another server. Present ones stay.
func (p *Proxy) Redirect(connString string) {
	target, err := parseTarget(connString)
	if err != nil {
		p.t.Errorf("fault: redirect: %v", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Refuse ends all connections and refuses new ones, like the machine of a server that is down. The
// address stays reserved for Heal.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	p.accepts = false
	p.port.refuse()
	p.mu.Unlock()
	p.Sever()
}

// Sever ends all connections, whatever they are doing. New ones are not affected.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.open {
		s.close()
	}
}

// Freeze lets nothing pass in a direction, and closes nothing: a frozen server, or a network that
// drops packets. New connections are accepted and get no answer. After Heal, what was held up goes
// on.
func (p *Proxy) Freeze(d Direction) {
	p.eachLink(d, func(l *link) { l.frozen = true })
}

// Delay lets everything pass in a direction d after it was sent. What was sent together arrives
// together, as on a long line. Zero ends the delay. For a round trip of 2d, delay Both by d.
func (p *Proxy) Delay(d Direction, delay time.Duration) {
	p.eachLink(d, func(l *link) { l.delay = delay })
}

// Rate limits what all connections together pass in a direction, in bytes per second. Zero ends
// the limit.
func (p *Proxy) Rate(d Direction, bytesPerSecond int) {
	p.eachLink(d, func(l *link) { l.rate, l.free = bytesPerSecond, time.Now() })
}

// Heal ends all faults, those of requests included, and accepts connections again. Connections that
// were ended stay ended.
func (p *Proxy) Heal() {
	p.mu.Lock()
	p.onAsk, p.commits = nil, 0
	p.mu.Unlock()
	p.eachLink(Both, func(l *link) { l.frozen, l.delay, l.rate = false, 0, 0 })
	if err := p.listen(); err != nil {
		p.t.Errorf("fault: heal the proxy: %v", err)
	}
}

// Stats are counts since the proxy was made.
type Stats struct {
	Connections int // accepted, cancel requests included
	Open        int // now
	Cancels     int // requests to cancel a statement
	// Flushes are round trips after the start of a session: how often a client sent something after
	// the server had answered. The goodbye at the end of a session does not count.
	Flushes int
	Commits int // COMMITs that the proxy met, cut or not
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Open = len(p.open)
	return s
}

func (p *Proxy) count(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// listen accepts connections, unless the proxy does that already or has ended.
func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepts || p.ctx.Err() != nil {
		return nil
	}
	l, err := p.port.listen()
	if err != nil {
		return err
	}
	p.accepts = true
	p.sessions.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(client)
		}
	})
	return nil
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.accepts { // refused since
		client.Close()
		return
	}
	s := newSession(p, client, p.target)
	p.open[s] = struct{}{}
	p.stats.Connections++
	p.sessions.Go(func() {
		s.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, s)
	})
}

func (p *Proxy) close() {
	p.cancel()
	p.Refuse()
	p.sessions.Wait()
	p.port.close()
}
