package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgpool/internal/option"
)

// Cluster is a primary and its read replicas. Its methods are safe for concurrent use.
type Cluster struct {
	primary  *pgxpool.Pool
	position *primary // where its write-ahead log ends; nil without replicas
	replicas []*standby
	maxLag   time.Duration // 0: any
	system   uint64        // the primary's system identifier, 0: not known
	logger   *slog.Logger
	stop     context.CancelFunc // of the watching goroutines
	watching sync.WaitGroup

	next    atomic.Uint64              // the turn among equally busy replicas
	ready   atomic.Pointer[[]*standby] // those that may be read from; the slice is never changed
	waiting atomic.Int64               // callers that wait for a replica to replay

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something was learned
	closed  bool
}

// Open connects to the primary as [pgpool.Connect] does, and returns its error where that fails.
// cfg comes from package pgconfig: DATABASE_URL is the primary, and of each of
// DATABASE_REPLICA_URLS a goroutine makes a pool of its own, with the same limits, as soon as that
// replica answers. Open does not wait for replicas: one that is down does not keep a service from
// starting. Without any, the Cluster is the primary's pool.
//
// Every second (drawn from 0.5 to 1.5 s) the goroutine asks the primary where its log ends, and
// then its replica about health and lag. It has a connection of its own to the replica, and all
// share one to the primary, which is made again if the server became read-only or is on an older
// timeline than a replica: after a failover the old primary may still run. An answer later than 2 s
// counts as none. The goroutine notices at once when its connection breaks, and when a query or a
// connect on the pool fails because the server is gone.
//
// A replica is used while it answers, is a standby of the same cluster, and is behind by no more
// than DATABASE_REPLICA_MAX_LAG (off: any lag). Changes are logged.
//
// Each replica's URL must lead to one server. Several hosts in one are an error here, a [*Error]; a
// load balancer cannot be recognized, and behind it lag and tokens would be those of another server
// than the one that is read from.
//
// opts apply to every pool. The connections that look after health take the password, the keepalive
// and the logger from them. The caller ends the Cluster with [Cluster.Shutdown].
func Open(ctx context.Context, cfg pgconfig.Config, opts ...pgpool.Option) (*Cluster, error) {
	main, err := cfg.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("open cluster: %w", err)
	}
	c := &Cluster{maxLag: cfg.MaxReplicaLag, logger: slog.Default(), changed: make(chan struct{})}
	c.ready.Store(&[]*standby{})
	for i, replica := range cfg.Replicas() {
		config, err := replica.PoolConfig()
		if err != nil {
			return nil, fmt.Errorf("open cluster: %w", err)
		}
		configured := option.FromConfig(replica, config.ConnConfig)
		s := newStandby(c, i, config, slices.Concat([]pgpool.Option{configured}, opts))
		c.logger = s.settings.Logger
		for _, other := range config.ConnConfig.Fallbacks {
			if other.Host != s.host || other.Port != s.port {
				return nil, fmt.Errorf("open cluster: %w", s.failed(ErrSeveralHosts))
			}
		}
		c.replicas = append(c.replicas, s)
	}
	if c.primary, err = pgpool.Connect(ctx, cfg, opts...); err != nil {
		return nil, fmt.Errorf("open cluster: primary: %w", err)
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	if len(c.replicas) > 0 {
		c.identify(ctx)
		configured := option.FromConfig(cfg, main.ConnConfig)
		settings := newSettings(slices.Concat([]pgpool.Option{configured}, opts))
		settings.KeepAlive.Apply(main.ConnConfig)
		c.position = newPrimary(main.ConnConfig, settings.Password)
		c.watching.Go(func() { c.position.watch(watching) })
	}
	for _, s := range c.replicas {
		c.watching.Go(func() { s.watch(watching) })
	}
	return c, nil
}

// newSettings returns what opts choose, for what is not a pool.
func newSettings(opts []pgpool.Option) *option.Settings {
	s := &option.Settings{Logger: slog.Default(), KeepAlive: pgpool.DefaultKeepAlive}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

// identify reads the primary's system identifier. Without it, replicas are not compared with the
// primary; tokens still are. The primary has answered a moment ago, and the pool's limits apply.
func (c *Cluster) identify(ctx context.Context) {
	var system int64
	if err := c.primary.QueryRow(ctx, `select system_identifier from pg_control_system()`).Scan(&system); err != nil {
		c.log(ctx, slog.LevelWarn,
			"the primary does not say which cluster it is, so replicas of another one are not recognized", err)
		return
	}
	c.system = uint64(system)
}

// Primary returns the pool of the primary, never nil.
func (c *Cluster) Primary() *pgxpool.Pool { return c.primary }

// Shutdown ends looking after the replicas and closes all pools, as [pgpool.Shutdown] does, at the
// same time: it waits until their connections have been released, but never longer than ctx. The
// error joins the pools' errors, each a [*pgpool.ShutdownError] in which [*Error] says which
// replica it is about. A health check under way may hold it up for 2 s. It may be called more than
// once.
func (c *Cluster) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true // from here on no replica gets a pool
	c.mu.Unlock()
	c.stop()
	failures := make([]error, len(c.replicas)+1)
	var closing sync.WaitGroup
	for i, s := range c.replicas {
		closing.Go(func() {
			if err := pgpool.Shutdown(ctx, s.pool.Load()); err != nil {
				failures[i] = s.failed(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); c.watching.Wait() }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	closing.Go(func() { failures[len(c.replicas)] = pgpool.Shutdown(ctx, c.primary) })
	closing.Wait()
	return errors.Join(failures...)
}

// publish stores a replica's new state, updates the list of usable replicas and wakes the waiting
// callers, all under one lock. It returns the previous state.
func (c *Cluster) publish(about *standby, next *state) (last *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last = about.state.Swap(next)
	ready := slices.DeleteFunc(slices.Clone(c.replicas), func(s *standby) bool { return !s.usable() })
	c.ready.Store(&ready)
	close(c.changed)
	c.changed = make(chan struct{})
	return last
}

// news returns a channel that is closed when something is learned after the call.
func (c *Cluster) news() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Status describes a replica, for a health page or a metric.
type Status struct {
	// Replica is its place in DATABASE_REPLICA_URLS, from 0.
	Replica int
	// Host and Port are where it is.
	Host string
	Port uint16
	// Lag says how far it was behind when it was asked last, measured against the primary's
	// position. It is 0 only if the replica has replayed up to where the primary was a moment ago,
	// and negative if it is not known.
	Lag time.Duration
	// Err is why it is not read from, an [*Error], or nil if it is.
	Err error
}

// Replicas returns what is known about each replica, in the order of the configuration. It sends
// nothing.
func (c *Cluster) Replicas() []Status {
	c.mu.Lock() // what it says is what Reader does
	defer c.mu.Unlock()
	all := make([]Status, len(c.replicas))
	for i, s := range c.replicas {
		state := s.state.Load()
		all[i] = Status{Replica: i, Host: s.host, Port: s.port, Lag: state.lag}
		if state.err != nil {
			all[i].Err = s.failed(state.err)
		}
	}
	return all
}
