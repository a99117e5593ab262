package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// proxy is a TCP port in front of a database's server.
type proxy struct {
	network, server string
	tls             *tls.Config // speak TLS to the client
	cut             []byte      // what the client must not say: both sides are closed in front of it

	listener net.Listener
	running  sync.WaitGroup
}

// start returns the proxy's address. It ends with the test.
func (p *proxy) start(t *testing.T, database string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal("cannot parse the database's URL")
	}
	p.network, p.server = pgconn.NetworkAddress(cfg.Host, cfg.Port)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.listener.Close()
		p.running.Wait()
	})
	p.running.Go(func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(client) })
		}
	})
	return p.listener.Addr().String()
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	if p.tls != nil {
		_, _ = io.ReadFull(client, make([]byte, 8)) // SSLRequest
		_, _ = client.Write([]byte("S"))
		client = tls.Server(client, p.tls)
	}
	server, err := net.Dial(p.network, p.server)
	if err != nil {
		return
	}
	p.running.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	})
	defer server.Close()
	for part := make([]byte, 32<<10); ; {
		n, err := client.Read(part)
		if err != nil || p.cut != nil && bytes.Contains(part[:n], p.cut) {
			return
		}
		if _, err := server.Write(part[:n]); err != nil {
			return
		}
	}
}
