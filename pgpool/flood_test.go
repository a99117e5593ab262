package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A mistake that repeats is logged once a second, with a count.
func TestSameFailureIsLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 4
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	began := time.Now()
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for time.Since(began) < 1500*time.Millisecond {
				if _, err := pool.Exec(t.Context(), `select wrong from pg_class`); err == nil {
					t.Error("did not fail")
				}
			}
		})
	}
	running.Wait()
	lines := log.Lines("query failed")
	if most := int(time.Since(began)/time.Second) + 1; len(lines) == 0 || len(lines) > most {
		t.Errorf("%d lines, want 1 to %d", len(lines), most)
	}
	last := lines[len(lines)-1]
	if !strings.Contains(last, "not_logged=") || !strings.Contains(last, "sqlstate=42703") {
		t.Errorf("the last line is %q, want the code and the count", last)
	}
	// Another statement is another kind.
	if _, err := pool.Exec(t.Context(), `select wrong from pg_type`); err == nil {
		t.Error("did not fail")
	}
	if len(log.Lines("pg_type")) != 1 {
		t.Errorf("another statement is not logged:\n%s", &log)
	}
}

// A failed batch is logged in one line.
func TestFailedBatchIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()))
	batch := &pgx.Batch{}
	batch.Queue(`select wrong from pg_class`)
	batch.Queue(`select 1`)
	if err := pool.SendBatch(t.Context(), batch).Close(); err == nil {
		t.Fatal("did not fail")
	}
	if lines := log.Lines("level=WARN"); len(lines) != 1 {
		t.Errorf("%d lines, want 1:\n%s", len(lines), &log)
	}
}

// Errors on a connection that broke before are consequences and are not logged. Neither is a caller
// that gave up while connecting.
func TestConsequencesAreNotLogged(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	admin := connect(t, config)
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid := tx.Conn().PgConn().PID()
	if _, err := admin.Exec(t.Context(), `select pg_terminate_backend($1, 10000)`, int32(pid)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := tx.Exec(t.Context(), `select 1`); err == nil {
			t.Fatal("the connection survived")
		}
	}
	_ = tx.Rollback(t.Context())
	if lines := log.Lines("level=WARN"); len(lines) != 1 || !strings.Contains(lines[0], "query failed") {
		t.Errorf("%d lines, want the cause once:\n%s", len(lines), &log)
	}
	for range 20 {
		pool.Reset()
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		_, _ = pool.Exec(ctx, `select 1`)
		cancel()
	}
	if lines := log.Lines("connecting to the database failed"); len(lines) != 0 {
		t.Errorf("callers that gave up are warnings:\n%s", &log)
	}
}

// A batch that cannot be prepared ends twice for a tracer, and counts once.
func TestBatchFailureCountsOnce(t *testing.T) {
	t.Parallel()
	var log logs
	pool := connect(t, database(t), pgpool.WithLogger(log.Logger()))
	for range 2 {
		batch := &pgx.Batch{}
		batch.Queue(`select nonsense`)
		if err := pool.SendBatch(t.Context(), batch).Close(); err == nil {
			t.Fatal("there is such a column")
		}
		time.Sleep(1100 * time.Millisecond) // a line a second is logged
	}
	if lines := log.Lines("batch failed"); len(lines) != 2 || strings.Contains(lines[1], "not_logged") {
		t.Errorf("log is %q, want two lines that hold nothing back", lines)
	}
}

// A caller that hangs up loses its connection. That does not mean that the server is gone, so the
// other connections are not pinged.
func TestCallerThatHangsUpCausesNoPing(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 2
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false } // pgxpool's own
	var pings atomic.Int64
	through(t, config, fault.Options{}).OnRequest(func(r fault.Request) fault.Cut {
		if strings.Contains(r.SQL, "ping") {
			pings.Add(1)
		}
		return fault.Pass
	})
	pool := connect(t, config)
	idle, busy := acquire(t, pool), acquire(t, pool)
	idle.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := busy.Exec(ctx, `select pg_sleep(60)`); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want the deadline's", err)
	}
	busy.Release()
	if _, err := pool.Exec(t.Context(), `select 1`); err != nil || pings.Load() != 0 {
		t.Errorf("%v and %d pings, want none", err, pings.Load())
	}
}

// While Connect waits, it logs one line a second for each category, not one for each attempt.
func TestStartUpIsLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	config := database(t)
	through(t, config, fault.Options{}).Refuse()
	var log logs
	began := time.Now()
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(log.Logger()),
		pgpool.WithStartupTimeout(1500*time.Millisecond))
	if err == nil {
		t.Fatal("connected")
	}
	most, refused := int(time.Since(began)/time.Second)+1, 0
	for _, line := range log.Lines("trying again") {
		if strings.Contains(line, "category=refused") { // a busy machine has others too, each with its own line
			refused++
		}
	}
	if refused == 0 || refused > most {
		t.Errorf("%d lines, want 1 to %d:\n%s", refused, most, &log)
	}
}
