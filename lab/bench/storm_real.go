package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/pgpool"
)

const (
	// instances is how many pools fit here: each connection is a process of the server.
	instances = 100
	// callers of each pool that runs; its pools have as many connections as that needs.
	callers = 2
	// nextCaller is when the next request comes to a pool whose last one failed.
	nextCaller = 20 * time.Millisecond
	// downFor is how long the server is away.
	downFor = time.Second
)

// speed is what one connection takes at a server that does nothing else.
type speed struct{ accept, refuse time.Duration }

// measureSpeed also leaves the server with room for callers × instances, and some.
func measureSpeed(ctx context.Context, server *ownServer) (speed, error) {
	const few = 20
	var s speed
	for _, room := range []struct {
		connections int
		took        *time.Duration
	}{{few, &s.refuse}, {callers*instances + 20, &s.accept}} {
		if err := server.room(ctx, room.connections); err != nil {
			return s, err
		}
		cfg, err := pgx.ParseConfig(server.url)
		if err != nil {
			return s, errors.New("the server's URL cannot be parsed")
		}
		if room.connections == few {
			for range few {
				conn, err := pgx.ConnectConfig(ctx, cfg)
				if err != nil {
					return s, err
				}
				defer conn.Close(context.WithoutCancel(ctx))
			}
		}
		if *room.took, err = attemptTime(ctx, cfg, room.connections == few); err != nil {
			return s, err
		}
	}
	return s, nil
}

// attemptTime is how long the server takes for an attempt when there are always some waiting.
func attemptTime(ctx context.Context, cfg *pgx.ConnConfig, refused bool) (time.Duration, error) {
	const length = 2 * time.Second
	var attempts atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range 8 {
		group.Go(func() error {
			for time.Since(began) < length {
				conn, err := pgx.ConnectConfig(ctx, cfg)
				switch {
				case err == nil && !refused:
					err = conn.Close(ctx)
				case refused && saidBy(err) == noRoom:
					err = nil
				}
				if err != nil {
					return err
				}
				attempts.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(began) / time.Duration(max(attempts.Load(), 1)), err
}

const (
	noRoom     = "53300"
	startingUp = "57P03"
)

// saidBy is the SQLSTATE of an attempt that the server answered, or empty.
func saidBy(err error) string {
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// room restarts the server with another max_connections.
func (s *ownServer) room(ctx context.Context, connections int) error {
	return s.configure(ctx, map[string]string{
		"max_connections": strconv.Itoa(connections), "superuser_reserved_connections": "0",
	})
}

// stormSide is a side of a real storm: comeBack is called when the server has gone, and returns
// when it answered again; end gives back what there is.
type stormSide struct {
	name  string
	begin func(ctx context.Context, cfg *pgxpool.Config) (comeBack func(context.Context) error, end func(), err error)
}

func realStorms(ctx context.Context, r *report, server *ownServer, rounds int) error {
	starting := make([]stormSide, 0, len(backoffs))
	for _, b := range backoffs[:3] {
		starting = append(starting, stormSide{b.name, startingWith(b)})
	}
	starting = append(starting, stormSide{"pgpool.Connect", startingPool})
	title := fmt.Sprintf("Real: %d instances start while the server is away (median of %d)", instances, rounds)
	if err := realStorm(ctx, r, server, title, rounds, starting); err != nil {
		return err
	}
	running := []stormSide{
		{"pgxpool: none", runningPool(pgxpool.NewWithConfig)},
		{"pgpool", runningPool(func(ctx context.Context, cfg *pgxpool.Config) (*pgxpool.Pool, error) {
			return pgpool.ConnectConfig(ctx, cfg, quiet)
		})},
	}
	title = fmt.Sprintf("Real: %d running pools of %d connections, each used by %d callers that come again after %s "+
		"(median of %d)", instances, callers, callers, nextCaller, rounds)
	return realStorm(ctx, r, server, title, rounds, running)
}

func startingWith(b backoff) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		var conn *pgx.Conn
		comeBack := func(ctx context.Context) (err error) {
			for n := 1; ctx.Err() == nil; n++ {
				if conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig); err == nil {
					return nil
				}
				time.Sleep(b.wait(n, saidBy(err) == noRoom))
			}
			return ctx.Err()
		}
		return comeBack, func() {
			if conn != nil {
				_ = conn.Close(context.Background())
			}
		}, nil
	}
}

func startingPool(_ context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
	var pool *pgxpool.Pool
	comeBack := func(ctx context.Context) (err error) {
		pool, err = pgpool.ConnectConfig(ctx, cfg, quiet)
		return err
	}
	return comeBack, func() {
		if pool != nil {
			pool.Close()
		}
	}, nil
}

func runningPool(
	open func(context.Context, *pgxpool.Config) (*pgxpool.Pool, error),
) func(context.Context, *pgxpool.Config) (func(context.Context) error, func(), error) {
	return func(ctx context.Context, cfg *pgxpool.Config) (func(context.Context) error, func(), error) {
		pool, err := open(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		if err := pool.Ping(ctx); err != nil {
			return nil, nil, err
		}
		comeBack := func(ctx context.Context) error {
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					for ctx.Err() == nil {
						if _, err := pool.Exec(ctx, "select pg_sleep(0.01)"); err == nil {
							return
						}
						time.Sleep(nextCaller)
					}
				})
			}
			group.Wait()
			return ctx.Err()
		}
		return comeBack, pool.Close, nil
	}
}
