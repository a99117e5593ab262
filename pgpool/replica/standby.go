package replica

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/dial"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

const (
	// checkInterval is the mean time between two looks at a replica. 1,000 instances ask it 1,000
	// times a second then, each for some 50 µs.
	checkInterval = time.Second
	// checkLimit is for one look, connecting included: far more than a round trip.
	checkLimit = 2 * time.Second
	// pollInterval is the time between two looks while a caller waits for the replica to replay.
	// All waiters share them.
	pollInterval = 5 * time.Millisecond
)

// errNotYet is the state of a replica that has not been asked yet.
var errNotYet = errors.New("it has not answered yet")

// standby is one replica. All but its atomics belong to the goroutine of watch.
type standby struct {
	cluster  *Cluster
	index    int
	host     string
	port     uint16
	config   *pgxpool.Config
	opts     []pgpool.Option
	settings *option.Settings // what opts choose

	pool  atomic.Pointer[pgxpool.Pool] // nil until the replica has answered
	state atomic.Pointer[state]
	load  atomic.Int64 // connections of the pool that are in use or waited for, nearly
	woken atomic.Bool
	rouse atomic.Pointer[context.CancelFunc] // ends the current rest

	conn *pgx.Conn // the one that asks; nil: none
}

// state is what is known about a replica. It is never changed.
type state struct {
	err      error // why it is not to be used, or nil
	lag      time.Duration
	replayed Token
}

const unknownLag = -1

func newStandby(c *Cluster, index int, config *pgxpool.Config, opts []pgpool.Option) *standby {
	s := &standby{
		cluster: c, index: index, host: config.ConnConfig.Host, port: config.ConnConfig.Port,
		config: config, opts: opts,
		settings: newSettings(opts),
	}
	s.state.Store(&state{err: errNotYet, lag: unknownLag})
	return s
}

func (s *standby) usable() bool { return s.state.Load().err == nil && s.pool.Load() != nil }

func (s *standby) failed(err error) error {
	return &Error{Replica: s.index, Host: s.host, Port: s.port, Err: err}
}

// watch looks after the replica until ctx ends.
func (s *standby) watch(ctx context.Context) {
	defer s.disconnect()
	for ctx.Err() == nil {
		s.learn(ctx, s.look(ctx))
		s.correctLoad()
		s.rest(ctx)
	}
}

// look asks the replica, and makes the connection and the pool if they are missing. A connection
// that broke says nothing about the replica, so look asks again at once on a new one.
func (s *standby) look(ctx context.Context) *state {
	old := s.conn != nil
	seen, err := s.askOnce(ctx)
	if err != nil && old {
		seen, err = s.askOnce(ctx)
	}
	if err == nil && seen.err == nil && s.pool.Load() == nil {
		err = s.connect(ctx)
	}
	if err != nil {
		return &state{err: err, lag: unknownLag}
	}
	return seen
}

// askOnce asks on the connection that it has, or on a new one. If that fails, it closes the
// connection.
func (s *standby) askOnce(ctx context.Context) (seen *state, err error) {
	// Not a child of ctx: pgx closes a connection whose query was canceled in the background, which
	// Shutdown could not wait for.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkLimit)
	defer cancel()
	if s.conn == nil {
		connecting, cancel := context.WithTimeout(ctx, checkLimit)
		defer cancel()
		cfg := s.config.ConnConfig.Copy()
		s.settings.KeepAlive.Apply(cfg)
		if s.conn, err = dial.Connect(connecting, cfg, s.settings.Password); err != nil {
			return nil, err
		}
	}
	if seen, err = s.ask(limited); err != nil {
		s.disconnect()
	}
	return seen, err
}

// connect makes the pool. The replica has answered a moment ago.
func (s *standby) connect(ctx context.Context) error {
	opts := slices.Concat(s.opts, []pgpool.Option{
		pgpool.WithStartupTimeout(checkLimit),
		func(settings *option.Settings) { settings.OnLost, settings.Load = s.lost, &s.load },
	})
	pool, err := pgpool.ConnectConfig(ctx, s.config, opts...)
	if err != nil {
		return err
	}
	s.cluster.mu.Lock()
	closed := s.cluster.closed
	if !closed {
		s.pool.Store(pool)
	}
	s.cluster.mu.Unlock()
	if closed { // Shutdown has not seen the pool
		pool.Close()
		return context.Canceled
	}
	return nil
}

// correctLoad sets the count to the pool's figures, because no hook reports a hijacked connection.
func (s *standby) correctLoad() {
	if pool := s.pool.Load(); pool != nil {
		stat := pool.Stat()
		s.load.Store(int64(stat.TotalConns() - stat.IdleConns()))
	}
}

func (s *standby) disconnect() {
	if s.conn != nil {
		dial.Close(context.Background(), s.conn)
		s.conn = nil
	}
}

// learn publishes a state of the replica and logs a change.
func (s *standby) learn(ctx context.Context, next *state) {
	last := s.cluster.publish(s, next)
	if ctx.Err() != nil || pgerr.Of(last.err) == pgerr.Of(next.err) && (last.err == nil) == (next.err == nil) {
		return
	}
	attrs := []slog.Attr{slog.Int("replica", s.index), slog.String("host", s.host), slog.Int("port", int(s.port))}
	if next.err != nil {
		s.cluster.log(ctx, slog.LevelWarn, "replica is not read from", next.err, attrs...)
		return
	}
	s.cluster.log(ctx, slog.LevelInfo, "replica is read from", nil, append(attrs, slog.Duration("lag", next.lag))...)
}

// lost is called by the pool when the server seems to be gone. The next look, which starts at once,
// finds out. Until then no reader is led there, and the replayed position no longer counts: a
// replica that crashed may restart from an earlier one.
func (s *standby) lost(ctx context.Context, err error) {
	s.learn(ctx, &state{err: err, lag: unknownLag})
	s.wake()
}

// wake ends the rest: there is something to look at.
func (s *standby) wake() {
	s.woken.Store(true)
	if rouse := s.rouse.Load(); rouse != nil {
		(*rouse)()
	}
}

// rest waits until it is time to look again. It listens on the connection meanwhile, so that its
// end is noticed at once.
func (s *standby) rest(ctx context.Context) {
	// With jitter, so that instances do not ask in lockstep.
	wait := checkInterval/2 + rand.N(checkInterval)
	if s.cluster.waiting.Load() > 0 && s.usable() {
		wait = pollInterval
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.rouse.Store(&cancel) // before looking at woken: wake does it the other way round
	if s.woken.Swap(false) {
		return
	}
	if s.conn == nil {
		<-ctx.Done()
		s.woken.Store(false)
		return
	}
	_, _ = s.conn.WaitForNotification(ctx) // a standby sends none: it returns when ctx or the connection ends
	s.woken.Store(false)
}
