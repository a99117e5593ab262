package pgtx_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// breakage is how a connection breaks when the client sends COMMIT.
type breakage string

const (
	notReceived breakage = "not received" // by the server, which sees the end of the connection
	answerLost  breakage = "answer lost"  // and the server sees the end of the connection
	blackHole   breakage = "black hole"   // not received by the server, which does not see the end of the connection either
	unanswered  breakage = "unanswered"   // received, but the client does not wait for the answer
)

// breakingConn breaks for the client when it sends COMMIT, once for all connections of a pool.
type breakingConn struct {
	net.Conn
	done   *atomic.Bool
	how    breakage
	broken atomic.Bool
	lost   atomic.Bool // the answer was read, and kept from the client
}

// cancelRequest is how the message begins that pgx sends on a connection of its own when one
// breaks.
var cancelRequest = []byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e}

func (c *breakingConn) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, net.ErrClosed
	}
	if c.done.Load() && (c.how == blackHole || c.how == unanswered) && bytes.HasPrefix(b, cancelRequest) {
		return len(b), nil // swallowed as well
	}
	if !bytes.Contains(b, []byte("commit\x00")) || c.done.Swap(true) {
		return c.Conn.Write(b)
	}
	c.broken.Store(true)
	if c.how == answerLost || c.how == unanswered {
		_, _ = c.Conn.Write(b)
	}
	if c.how == answerLost {
		c.lose()
	}
	if c.how == answerLost || c.how == notReceived {
		_ = c.Conn.Close()
	}
	return len(b), nil // as a kernel does, whatever becomes of the bytes
}

func (c *breakingConn) Read(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(b)
	if c.broken.Load() {
		if n > 0 {
			c.lost.Store(true)
		}
		return 0, net.ErrClosed
	}
	return n, err
}

// lose waits for the answer. If the write is slow, pgx reads meanwhile, and it is Read that meets
// it.
func (c *breakingConn) lose() {
	for !c.lost.Load() {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Conn.Read(make([]byte, 1024)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

func (c *breakingConn) Close() error {
	if c.broken.Load() {
		return nil
	}
	return c.Conn.Close()
}

// breaking returns a pool whose first COMMIT breaks.
func breaking(t *testing.T, url string, how breakage, mode ...pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the test database's URL")
	}
	for _, m := range mode {
		config.ConnConfig.DefaultQueryExecMode = m
	}
	done := new(atomic.Bool)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		return &breakingConn{Conn: conn, done: done, how: how}, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
