package pgtx

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// gate lets one goroutine at a time use the session of an attempt. pgx has no such lock: two
// goroutines on one connection get "conn busy" at best and a data race at worst.
//
// The functions in this file are the only way to the session, so no code can touch it after
// another goroutine may have it.
type gate struct {
	wire wire

	mu     sync.Mutex
	busy   bool          // a goroutine is in a call
	closed bool          // shut was called
	stuck  bool          // shut gave up on the call
	left   chan struct{} // closed when the call that shut waits for returns

	session session // belongs to the call, and to shut's caller afterwards
}

// enter calls fn with the session. It fails if another goroutine is in a call, or if rows or batch
// results are open.
func (g *gate) enter(fn func(*session) error) error { return g.call(fn, false, false) }

// resume is enter for the rows or batch results that are open.
func (g *gate) resume(fn func(*session) error) error { return g.call(fn, true, false) }

// enterLast is enter for the end of a nested function. If the session is in use, nothing can be
// undone, so nothing may be committed: it cuts the connection.
func (g *gate) enterLast(fn func(*session) error) error { return g.call(fn, false, true) }

func (g *gate) call(fn func(*session) error, reading, cut bool) error {
	if err := g.take(reading, cut); err != nil {
		return err
	}
	defer g.leave()
	return fn(&g.session)
}

func (g *gate) take(reading, cut bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return ErrTxClosed
	case !g.busy && g.session.reading == reading:
		g.busy = true
		return nil
	case !g.busy && reading:
		return ErrTxClosed
	case cut:
		g.wire.cut() // under the lock: the connection cannot have been given back
	}
	return ErrTxInUse
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
	switch {
	case g.stuck:
		g.session.discard()
	case g.left != nil:
		close(g.left)
	}
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// shut ends all use of the session and returns it. If a goroutine is in a call, shut cuts the
// connection and waits for it. If the call does not return within limit, because code of the caller
// blocks it, shut returns nil, and the call gives the connection back when it returns.
func (g *gate) shut(limit time.Duration) *session {
	g.mu.Lock()
	g.closed = true
	busy := g.busy
	if busy {
		g.left = make(chan struct{})
		g.wire.cut()
	}
	g.mu.Unlock()
	if busy && !g.awaitCall(limit) {
		return nil
	}
	s := &g.session
	if busy || s.reading || g.wire.wasCut() || s.conn != nil && s.conn.PgConn().IsBusy() {
		s.cutOff()
	} else {
		s.observe(nil) // tx.Conn() bypasses the handles
	}
	return s
}

// awaitCall waits for the call that is under way and reports whether it has returned.
func (g *gate) awaitCall(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-g.left:
		return true
	case <-timer.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stuck = g.busy
	return !g.stuck
}

// wire makes a call of another goroutine return: it ends the acquire, or closes the socket. To
// close a net.Conn is the only thing that a second goroutine may do on a pgx connection.
type wire struct {
	mu   sync.Mutex
	conn *pgx.Conn
	stop context.CancelFunc
	over bool
}

// set makes conn the connection, or none with nil. It closes the socket if cut was called before.
func (w *wire) set(conn *pgx.Conn, stop context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.stop = conn, stop
	if w.over {
		w.end()
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.end()
}

func (w *wire) end() {
	if w.stop != nil {
		w.stop()
	}
	if w.conn != nil {
		_ = w.conn.PgConn().Conn().Close()
	}
}

func (w *wire) wasCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

func (w *wire) get() *pgx.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn
}
