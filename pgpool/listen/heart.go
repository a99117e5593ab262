package listen

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

var errSilent = errors.New("notifications do not arrive: the server is frozen, or the writers are on another one")

// heart finds out whether notifications arrive on a connection. After a silence it sends one on a
// channel of its own. If that does not arrive, it closes the socket, which ends the wait that
// pgxlisten is in.
type heart struct {
	silence time.Duration
	limit   time.Duration // for a notification to arrive
	channel string        // of this Listener alone

	// Listen's goroutine alone uses end. It stops the watch, and returns why that closed the
	// socket, or nil. It is nil while nothing is watched.
	end func() error

	busy atomic.Bool   // a handler runs, so nothing else can arrive
	sign chan struct{} // has a value after a sign of life
}

func newHeart(limit time.Duration) *heart {
	return &heart{
		silence: defaultHeartbeat, limit: limit,
		channel: "pgpool_heartbeat_" + rand.Text(), sign: make(chan struct{}, 1),
	}
}

// start watches conn until stop. beat notifies the channel.
func (h *heart) start(ctx context.Context, conn *pgx.Conn, beat func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	socket := conn.PgConn().Conn()
	var silent error
	var watch sync.WaitGroup
	watch.Go(func() {
		if silent = h.watch(ctx, beat); silent != nil {
			_ = socket.Close() // the only thing that a second goroutine may do on a connection
		}
	})
	h.end = func() error {
		cancel()
		watch.Wait()
		return silent
	}
}

// stop ends the watch. It returns why that closed the socket, or nil.
func (h *heart) stop() error {
	if h.end == nil {
		return nil
	}
	end := h.end
	h.end = nil
	return end()
}

// live records a sign of life: a handler begins (busy) or has ended.
func (h *heart) live(busy bool) {
	h.busy.Store(busy)
	select {
	case h.sign <- struct{}{}:
	default: // it has one
	}
}

// watch returns nil when ctx ends, and otherwise why no notification arrives.
func (h *heart) watch(ctx context.Context, beat func(context.Context) error) error {
	for ctx.Err() == nil {
		if h.hears(ctx, h.silence) || h.busy.Load() {
			continue
		}
		err := beat(ctx)
		if err == nil && !h.hears(ctx, h.limit) {
			err = errSilent
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// hears waits for a sign of life. It returns false after limit and when ctx ends.
func (h *heart) hears(ctx context.Context, limit time.Duration) bool {
	select {
	case <-h.sign:
		return true
	case <-time.After(limit):
	case <-ctx.Done():
	}
	return false
}

// beat notifies the Listener from a new connection. It returns an error if a new connection would
// not reach the server either. Other failures say nothing about the connection that listens: a
// changed password, or no free slot.
func (l *Listener) beat(ctx context.Context) error {
	err := l.notifyItself(ctx)
	switch pgerr.Of(err) {
	case "":
		return nil
	case pgerr.Timeout, pgerr.Refused, pgerr.Connection, pgerr.StartingUp, pgerr.Shutdown, pgerr.ReadOnly,
		pgerr.WrongServer:
		return fmt.Errorf("heartbeat: %w", err)
	case pgerr.Canceled: // ctx has ended
		return err
	default:
		l.log(ctx, "cannot send a heartbeat", err, slog.Duration("again", l.heart.silence))
		l.heart.live(false)
		return nil
	}
}

func (l *Listener) notifyItself(ctx context.Context) error {
	ctx, cancel := dial.Budget(ctx, l.cfg)
	defer cancel()
	conn, err := dial.Connect(ctx, l.cfg, l.password)
	if err != nil {
		return err
	}
	defer dial.Close(ctx, conn)
	_, err = conn.Exec(ctx, `select pg_notify($1, '')`, pgx.QueryExecModeExec, l.heart.channel)
	return err
}
