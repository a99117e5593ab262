package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// network is TCP between a program and the server. After a cut the first write to such a connection
// succeeds, other than on a Unix socket: nobody has been told yet.
type network struct {
	listener net.Listener
	sessions sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}

	// loseUpdate: the server's next answer to an update is not passed on, the connection is ended
	// instead.
	loseUpdate atomic.Bool
}

// overTCP puts a network between the side and the server; for programs that start afterwards.
func (s *scene) overTCP(ctx context.Context) (*network, error) {
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		return nil, unparsable(err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &network{listener: listener, conns: map[net.Conn]struct{}{}}
	s.url = fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", cfg.User, listener.Addr(), cfg.Database)
	family, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	n.sessions.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			n.sessions.Go(func() { n.carry(client, family, address) })
		}
	})
	s.Cleanup(func() {
		listener.Close()
		n.cut()
		n.sessions.Wait()
	})
	return n, nil
}

func (n *network) carry(client net.Conn, family, address string) {
	server, err := net.Dial(family, address)
	if err != nil {
		client.Close()
		return
	}
	n.mu.Lock()
	n.conns[client] = struct{}{}
	n.mu.Unlock()
	n.sessions.Go(func() { n.pour(client, server) })
	_, _ = io.Copy(server, client) // how it ended is the same to both
	server.Close()
	client.Close()
	n.mu.Lock()
	delete(n.conns, client)
	n.mu.Unlock()
}

// pour passes on the server's answers.
func (n *network) pour(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	answer := make([]byte, 16<<10)
	for {
		length, err := server.Read(answer)
		if err != nil || bytes.Contains(answer[:length], []byte("UPDATE ")) &&
			n.loseUpdate.CompareAndSwap(true, false) {
			return
		}
		if _, err := client.Write(answer[:length]); err != nil {
			return
		}
	}
}

// cut ends all connections in whatever they do. New ones are not affected.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.Close()
	}
}
