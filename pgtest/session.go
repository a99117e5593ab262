package pgtest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// session is one connection through a [Switch].
type session struct {
	*Switch
	client net.Conn
	done   chan struct{}
	once   sync.Once
	// swallow: a COMMIT is under way whose answer the client must not see.
	swallow atomic.Bool
}

func (c *session) close() {
	c.once.Do(func() {
		close(c.done)
		c.client.Close()
	})
}

// run returns when both directions have ended.
func (c *session) run(server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		<-c.done
		server.Close()
	})
	both.Go(func() {
		defer c.close()
		c.requests(server)
	})
	both.Go(func() {
		defer c.close()
		c.answers(server)
	})
	both.Wait()
}

// requests passes on the client's messages.
func (c *session) requests(server net.Conn) {
	first := true // the start-up message has no type
	for {
		kind, message, err := readMessage(c.client, first)
		if err != nil {
			return
		}
		first = false
		delay, ok := c.pass(c.done)
		if !ok {
			return
		}
		// Q and Sync are what the server answers: one for a round trip.
		if delay > 0 && (kind == 'Q' || kind == 'S') && !c.sleep(delay) {
			return
		}
		if isCommit(kind, message) && c.takeCommit() {
			c.swallow.Store(true)
		}
		if _, err := server.Write(message); err != nil {
			return
		}
	}
}

// answers passes on the server's messages.
func (c *session) answers(server net.Conn) {
	for {
		kind, message, err := readMessage(server, false)
		if err != nil {
			return
		}
		if _, ok := c.pass(c.done); !ok {
			return
		}
		if c.swallow.Load() {
			if kind == 'Z' { // ready for the next query: the COMMIT is done
				return
			}
			continue
		}
		if _, err := c.client.Write(message); err != nil {
			return
		}
	}
}

func (c *session) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.done:
		return false
	}
}

// readMessage returns a message whole, with its type byte and length. first: it has no type byte.
func readMessage(r io.Reader, first bool) (kind byte, message []byte, err error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	if !first {
		kind = head[0]
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	if length < 4 || length > 1<<30 { // PostgreSQL's own limit
		return 0, nil, io.ErrUnexpectedEOF
	}
	var body bytes.Buffer // grows with what comes, not with what the length promises
	body.Write(head)
	if _, err := io.CopyN(&body, r, int64(length)-4); err != nil {
		return 0, nil, err
	}
	return kind, body.Bytes(), nil
}

// isCommit recognises COMMIT and END in the simple protocol, which pgx uses for them, and in a
// Parse message.
func isCommit(kind byte, message []byte) bool {
	if (kind != 'Q' && kind != 'P') || len(message) < 5 {
		return false
	}
	text := message[5:]
	if kind == 'P' { // after the statement's name
		_, text, _ = bytes.Cut(text, []byte{0})
	}
	text = bytes.ToLower(bytes.TrimSpace(text))
	return bytes.HasPrefix(text, []byte("commit")) || bytes.HasPrefix(text, []byte("end"))
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
