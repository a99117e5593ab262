package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// tap is a socket in front of the server's that notes what clients send.
type tap struct {
	url  string
	mu   sync.Mutex
	sent [][]string // the statements of each round trip: what was sent after the server had spoken
}

// whatIsSent prints what each side sends for one operation, when it has done it before, and how
// many statements it sends for manyCallers of them at once.
func whatIsSent(ctx context.Context, r *report, url string, openers []opener) error {
	sent := make([][]string, len(openers))
	for i, o := range openers {
		var err error
		if sent[i], err = o.sends(ctx, url); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	for i, op := range operations {
		r.printf("\n%s: what is sent, a line for each round trip\n\n", op.title)
		var seen []string
		for _, of := range sent {
			if slices.Contains(seen, of[i]) {
				continue
			}
			seen = append(seen, of[i])
			var names []string
			for side, o := range openers {
				if sent[side][i] == of[i] {
					names = append(names, o.name)
				}
			}
			r.printf("- %s; %s", strings.Join(names, "; "), of[i])
		}
	}
	return nil
}

// sends is what it sends for each of the operations.
func (o opener) sends(ctx context.Context, url string) ([]string, error) {
	tap, closeTap, err := newTap(ctx, url)
	if err != nil {
		return nil, err
	}
	defer closeTap()
	side, err := o.open(ctx, tap.url, 1)
	if err != nil {
		return nil, err
	}
	defer side.close()
	sent := make([]string, len(operations))
	for i, op := range operations {
		if _, err := side.batch(ctx, op.name, 1, 3); err != nil {
			return nil, err
		}
		tap.since()
		if _, err := side.batch(ctx, op.name, 1, 0); err != nil {
			return nil, err
		}
		one := tap.since()
		if _, err := side.batch(ctx, op.name, manyCallers, 0); err != nil {
			return nil, err
		}
		sent[i] = fmt.Sprintf("statements for %d at once: %d\n", manyCallers, len(slices.Concat(tap.since()...)))
		for n, trip := range one {
			sent[i] += fmt.Sprintf("  %d. %s\n", n+1, strings.Join(trip, "; "))
		}
	}
	return sent, nil
}

// since is what was sent since the last call.
func (t *tap) since() [][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent := t.sent
	t.sent = nil
	return sent
}

func newTap(ctx context.Context, address string) (*tap, func(), error) {
	cfg, err := pgconn.ParseConfig(address)
	if err != nil {
		return nil, nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	network, server := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, errors.New("the throw-away server's URL cannot be parsed")
	}
	dir, err := os.MkdirTemp("", "pb")
	if err != nil {
		return nil, nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	parameters := u.Query()
	parameters.Set("host", dir)
	parameters.Set("port", "5432")
	u.Host, u.RawQuery = "", parameters.Encode()
	t := &tap{url: u.String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { t.carry(client, network, server) })
		}
	})
	return t, func() {
		_ = listener.Close()
		conns.Wait()
		_ = os.RemoveAll(dir)
	}, nil
}

// carry carries a connection until one of its ends closes it.
func (t *tap) carry(client net.Conn, network, address string) {
	defer client.Close()
	server, err := net.Dial(network, address) // until the client closes
	if err != nil {
		return
	}
	defer server.Close()
	c := &tappedConn{tap: t, names: map[string]string{}}
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() { carryPieces(client, server, c.heard) })
	carryPieces(server, client, c.said)
	_ = server.Close()
}

func carryPieces(to net.Conn, from net.Conn, note func([]byte)) {
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if err != nil {
			return
		}
		note(piece[:n])
		if _, err := to.Write(piece[:n]); err != nil {
			return
		}
	}
}

// tappedConn is what is known of a connection.
type tappedConn struct {
	tap      *tap
	answered bool // the server spoke last
	started  bool
	rest     []byte
	names    map[string]string // the SQL of its prepared statements; of the one without a name under ""
}

func (c *tappedConn) heard([]byte) {
	c.tap.mu.Lock()
	c.answered = true
	c.tap.mu.Unlock()
}

func (c *tappedConn) said(piece []byte) {
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	var trip []string
	for c.rest = append(c.rest, piece...); ; {
		head := 1 // the kind of message, which the first one on a connection does not have
		if !c.started {
			head = 0
		}
		if len(c.rest) < head+4 {
			break
		}
		length := head + int(binary.BigEndian.Uint32(c.rest[head:]))
		if len(c.rest) < length {
			break
		}
		if message := c.rest[:length]; c.started {
			trip = append(trip, c.statement(message[0], message[5:])...)
		}
		c.started, c.rest = true, c.rest[length:]
	}
	if len(trip) == 0 {
		return
	}
	if last := len(c.tap.sent) - 1; !c.answered && last >= 0 {
		c.tap.sent[last] = append(c.tap.sent[last], trip...)
	} else {
		c.tap.sent = append(c.tap.sent, trip)
	}
	c.answered = false
}

// statement is what a message executes, if it does.
func (c *tappedConn) statement(kind byte, body []byte) []string {
	switch kind {
	case 'Q':
		var m pgproto3.Query
		if m.Decode(body) == nil {
			return []string{"simple: " + m.String}
		}
	case 'P':
		var m pgproto3.Parse
		if m.Decode(body) == nil {
			c.names[m.Name] = m.Query
		}
	case 'B':
		var m pgproto3.Bind
		if m.Decode(body) != nil {
			break
		}
		if m.PreparedStatement == "" {
			return []string{"parsed and planned anew: " + c.names[""]}
		}
		return []string{"prepared: " + c.names[m.PreparedStatement]}
	}
	return nil
}
