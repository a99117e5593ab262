package pgtx_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// cut says where the proxy breaks a connection when it meets COMMIT.
type cut int

const (
	never        cut = iota
	beforeCommit     // the server never sees it
	insideCommit     // the server sees half of the message
	insideAnswer     // the client sees a part of the answer
	afterCommit      // the server has answered it, the client does not see that
	hang             // the server never sees it, and the client gets no answer
	hangAfter        // the server has answered it, and the client gets no answer
)

// proxy stands between a pool and the server and breaks the connection at COMMIT.
type proxy struct {
	listener net.Listener

	mu      sync.Mutex
	network string
	address string
	where   cut
	planned map[string]plan // by the client's address, instead of where
	commits int             // seen
	onMeet  func()
	ending  chan struct{} // closed at the end of the test: a client that gave up waits 15 s for the server to hang up
	conns   sync.WaitGroup
}

// plan is what happens to the next COMMIT of one connection.
type plan struct {
	where cut
	met   func() // called before
}

// plan replaces the plan for conn, which is a connection through p.
func (p *proxy) plan(conn *pgconn.PgConn, next plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned[conn.Conn().LocalAddr().String()] = next
}

// redirect makes new connections go to another server's socket.
func (p *proxy) redirect(socket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.address = "unix", socket
}

// startProxy returns a proxy to the server of url, and a pool that connects through it.
func startProxy(t *testing.T, url string, where cut, mode ...pgx.QueryExecMode) (*proxy, *pgxpool.Pool) {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the test database's URL")
	}
	for _, m := range mode {
		config.ConnConfig.DefaultQueryExecMode = m
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, where: where, planned: map[string]plan{}, ending: make(chan struct{})}
	p.network, p.address = pgconn.NetworkAddress(config.ConnConfig.Host, config.ConnConfig.Port)
	p.conns.Add(1)
	go p.accept()

	config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", listener.Addr().String())
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(p.ending)
		pool.Close()
		listener.Close()
		p.conns.Wait()
	})
	return p, pool
}

func (p *proxy) accept() {
	defer p.conns.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Add(1)
		go p.serve(client)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.conns.Done()
	defer client.Close()
	p.mu.Lock()
	network, address := p.network, p.address
	p.mu.Unlock()
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer server.Close()

	fromServer := make(chan []byte)
	stop := make(chan struct{})
	defer close(stop)
	p.conns.Add(2)
	go p.read(server, fromServer, stop)
	fromClient := make(chan []byte)
	go p.read(client, fromClient, stop)
	for {
		select {
		case data, ok := <-fromClient:
			if !ok {
				return
			}
			if bytes.Contains(data, []byte("commit\x00")) {
				where := p.meet(client)
				switch where {
				case insideCommit:
					_, _ = server.Write(data[:len(data)/2])
				case insideAnswer, afterCommit, hangAfter:
					if _, err := server.Write(data); err != nil {
						return
					}
					if answer := <-fromServer; where == insideAnswer && len(answer) > 1 {
						_, _ = client.Write(answer[:1+rand.IntN(len(answer)-1)])
					}
				}
				if where == hang || where == hangAfter {
					select {
					case <-fromClient: // it gave up
					case <-p.ending:
					}
				}
				if where != never {
					return
				}
			}
			if _, err := server.Write(data); err != nil {
				return
			}
		case data, ok := <-fromServer:
			if !ok {
				return
			}
			if _, err := client.Write(data); err != nil {
				return
			}
		}
	}
}

func (p *proxy) meet(client net.Conn) cut {
	p.mu.Lock()
	next, ok := p.planned[client.RemoteAddr().String()]
	delete(p.planned, client.RemoteAddr().String())
	if !ok {
		next = plan{where: p.where, met: p.onMeet}
	}
	p.commits++
	p.mu.Unlock()
	if next.met != nil {
		next.met()
	}
	return next.where
}

func (p *proxy) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commits
}

func (p *proxy) read(conn net.Conn, data chan<- []byte, stop <-chan struct{}) {
	defer p.conns.Done()
	defer close(data)
	for {
		buf := make([]byte, 32<<10)
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		select {
		case data <- buf[:n]:
		case <-stop:
			return
		}
	}
}
