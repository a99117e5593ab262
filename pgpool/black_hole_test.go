package pgpool_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A black hole accepts connections, or keeps them open, and never answers.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	config.ConnConfig.ConnectTimeout = 1500 * time.Millisecond // more than a busy machine takes
	config.PingTimeout = 200 * time.Millisecond
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // as if idle for a second
	p := through(t, config, fault.Options{})
	const most = 2 * time.Second
	pool := connect(t, config, pgpool.WithAcquireTimeout(most))
	var held []*pgxpool.Conn
	for range 3 {
		held = append(held, acquire(t, pool))
	}
	held[1].Release()
	held[2].Release()

	p.Freeze(fault.Both)
	for range 4 {
		began := time.Now()
		_, err := pool.Exec(t.Context(), `select 1`)
		if took := time.Since(began); took > most+slack {
			t.Errorf("took %s, want about %s", took, most)
		}
		if category := pgerr.Of(err); category != pgerr.Timeout && category != pgerr.Connection {
			t.Errorf("error is %v of category %s, want timeout", err, category)
		}
	}
	// A running query ends with its own context.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := held[0].Exec(ctx, `select 1`)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > slack {
		t.Errorf("error is %v after %s, want the deadline's", err, took)
	}
	held[0].Release()
	// No connection keeps its place for the 15 s that pgx waits for a server to say goodbye.
	began = time.Now()
	eventually(t, func() bool { return pool.Stat().TotalConns() == 0 })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closing took %s, want about 2s", took)
	}

	p.Heal()
	eventually(t, func() bool { return pool.Ping(t.Context()) == nil })
	nothingIsLeft(t, pool)
}

func TestConnectBlackHoleWithinBudget(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.ConnectTimeout = 50 * time.Millisecond
	through(t, config, fault.Options{}).Freeze(fault.Both)
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil),
		pgpool.WithStartupTimeout(400*time.Millisecond))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts < 2 || pgerr.Of(err) != pgerr.Timeout || failed.Elapsed > slack {
		t.Errorf("error is %v, want several attempts of category timeout", err)
	}
}
