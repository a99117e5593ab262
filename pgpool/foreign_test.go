package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A connection that was made from the pool's configuration, outside the pool, stays open with any
// tracer. It is not mistaken for a cancel request.
func TestConnectionFromThePoolsConfigLives(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.ConnectTimeout = 2 * time.Second
	pool := connect(t, config)
	held := acquire(t, pool)
	for name, config := range map[string]*pgx.ConnConfig{
		"the pool's":       pool.Config().ConnConfig,
		"the connection's": held.Conn().Config(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config.Tracer = &counting{}
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			if _, err := conn.Exec(t.Context(), `select pg_sleep(4.5)`); err != nil {
				t.Errorf("after 4.5s: %v", err)
			}
		})
	}
	if _, err := held.Exec(t.Context(), `select pg_sleep(2.5)`); err != nil {
		t.Errorf("a connection of the pool after 2.5s: %v", err)
	}
}

// River and others make a second pool from our pool's Config. That pool gets no limits or figures
// of ours, and does not share our failures.
func TestPoolFromAnotherPoolsConfigIsLeftAlone(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 2
	p := through(t, config, fault.Options{})
	var log logs
	ours := connect(t, config, pgpool.WithLogger(log.Logger()), pgpool.WithAcquireTimeout(limit))
	foreignConfig := ours.Config()
	direct := database(t).ConnConfig // it reaches a server when ours does not
	foreignConfig.ConnConfig.DialFunc, foreignConfig.ConnConfig.Database = direct.DialFunc, direct.Database
	foreign, err := pgxpool.NewWithConfig(t.Context(), foreignConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(foreign.Close)

	// Its holders are not ours, and its waits have no limit but the caller's.
	first := acquire(t, foreign)
	if _, err := first.Exec(t.Context(), `select 1`); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, foreign)
	if holders := pgpool.Holders(ours); len(holders) != 0 {
		t.Errorf("our holders are %v, want none", holders)
	}
	if holders := pgpool.Holders(foreign); len(holders) != 0 {
		t.Errorf("the other pool's holders are %v, want none: nobody observes it", holders)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	if _, err := foreign.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want pgxpool's own", err)
	}

	// Our server goes away. Its connects do not fail with our errors.
	p.Refuse()
	ours.Reset()
	var running sync.WaitGroup
	running.Go(func() {
		for range 20 {
			if ours.Ping(t.Context()) == nil {
				t.Error("a server that is not there answers")
			}
		}
	})
	second.Release()
	for range 20 {
		foreign.Reset()
		if err := foreign.Ping(t.Context()); err != nil {
			t.Errorf("the other pool fails with %v", err)
		}
	}
	running.Wait()
	if strings.Contains(log.String(), direct.Database) {
		t.Error("the other pool's failures are in our log")
	}

	// Shutdown of ours leaves its connections alone.
	_ = pgpool.Shutdown(canceled(t), ours)
	if _, err := first.Exec(t.Context(), `select 1`); err != nil {
		t.Errorf("a connection of the other pool was cut: %v", err)
	}
}

// A hook of our pool may use another pool with the hook's ctx. Neither pool counts the other's
// acquire.
func TestHookThatUsesAnotherPool(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	var foreign *pgxpool.Pool
	config.PrepareConn = func(ctx context.Context, _ *pgx.Conn) (bool, error) {
		if foreign == nil {
			return true, nil
		}
		_, err := foreign.Exec(ctx, `select 1`)
		return true, err
	}
	ours := connect(t, config, pgpool.WithAcquireTimeout(limit))
	copied := ours.Config()
	copied.PrepareConn = nil
	var err error
	if foreign, err = pgxpool.NewWithConfig(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(foreign.Close)
	acquire(t, ours)
	_, err = ours.Acquire(t.Context())
	var figures *pgpool.AcquireError
	if !errors.As(err, &figures) || figures.Waiting != 1 {
		t.Errorf("error is %v, want one caller waiting", err)
	}
}

// A hijacked connection has left the pool. It is not a leak, and Shutdown leaves it open. pgx does
// not say which connections were hijacked, so all holders are marked.
func TestHijackedConnection(t *testing.T) {
	t.Parallel()
	const threshold = 50 * time.Millisecond
	config := database(t)
	config.MaxConns = 1
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(threshold),
		pgpool.WithAcquireTimeout(limit))
	hijacked := acquire(t, pool).Hijack()
	defer hijacked.Close(context.Background())
	if _, err := hijacked.Exec(t.Context(), `listen pages`); err != nil {
		t.Fatal(err)
	}
	if holders := pgpool.Holders(pool); len(holders) != 1 || !holders[0].MayBeHijacked {
		t.Errorf("holders are %v, want one that may be hijacked", holders)
	}
	eventually(t, func() bool { return pgpool.Holders(pool)[0].Age > 3*threshold })
	if lines := log.Lines("perhaps leaked"); len(lines) != 0 {
		t.Errorf("the hijacked connection is called a leak: %s", lines)
	}
	conn := acquire(t, pool)
	_, err := pool.Acquire(t.Context())
	var busy *pgpool.AcquireError
	if !errors.As(err, &busy) || busy.InUse != 1 || len(busy.Oldest) != 2 || !busy.Oldest[1].MayBeHijacked ||
		busy.Oldest[1].PID != conn.Conn().PgConn().PID() || !strings.Contains(err.Error(), "perhaps hijacked") {
		t.Errorf("error is %v, want both holders marked", err)
	}
	conn.Release()
	if err := pgpool.Shutdown(t.Context(), pool); err != nil {
		t.Error(err)
	}
	if err := hijacked.Ping(t.Context()); err != nil {
		t.Errorf("Shutdown closed the hijacked connection: %v", err)
	}
}

// A leak is reported even if a younger connection was hijacked. Shutdown cannot tell them apart, so
// it closes neither.
func TestLeakBesideAHijackedConnection(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 2
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()), pgpool.WithLeakThreshold(50*time.Millisecond))
	leaked := acquire(t, pool)
	if _, err := leaked.Exec(t.Context(), `select 1 as leak`); err != nil {
		t.Fatal(err)
	}
	hijacked := acquire(t, pool).Hijack()
	defer hijacked.Close(context.Background())
	eventually(t, func() bool { return len(log.Lines("perhaps leaked")) == 2 })
	if text := log.String(); !strings.Contains(text, "select 1 as leak") ||
		!strings.Contains(text, "of_these_hijacked=1") {
		t.Errorf("log is %s, want the leak's statement and how many were hijacked", text)
	}
	var left *pgpool.ShutdownError
	if err := pgpool.Shutdown(canceled(t), pool); !errors.As(err, &left) || left.InUse != 1 || len(left.Holders) != 2 ||
		!left.Holders[0].MayBeHijacked {
		t.Errorf("error is %v, want both holders marked", err)
	}
	if err := hijacked.Ping(t.Context()); err != nil {
		t.Errorf("Shutdown closed the hijacked connection: %v", err)
	}
	leaked.Release()
}
