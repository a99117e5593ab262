package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

const limit = 1500 * time.Millisecond // more than a busy machine takes to connect

// exhausted returns a pool of two connections that are both in use until the end of the test.
func exhausted(t *testing.T, opts ...pgpool.Option) *pgxpool.Pool {
	t.Helper()
	config := database(t)
	config.MaxConns = 2
	pool := connect(t, config, append([]pgpool.Option{pgpool.WithAcquireTimeout(limit)}, opts...)...)
	for range 2 {
		acquire(t, pool)
	}
	return pool
}

func TestEveryMethodFailsOnExhaustedPool(t *testing.T) {
	t.Parallel()
	pool := exhausted(t)
	for name, call := range map[string]func(ctx context.Context) error{
		"Acquire":  func(ctx context.Context) error { _, err := pool.Acquire(ctx); return err },
		"Exec":     func(ctx context.Context) error { _, err := pool.Exec(ctx, `select 1`); return err },
		"Query":    func(ctx context.Context) error { _, err := pool.Query(ctx, `select 1`); return err },
		"QueryRow": func(ctx context.Context) error { return pool.QueryRow(ctx, `select 1`).Scan() },
		"Begin":    func(ctx context.Context) error { _, err := pool.Begin(ctx); return err },
		"Ping":     pool.Ping,
		"SendBatch": func(ctx context.Context) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			return pool.SendBatch(ctx, batch).Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			err := call(context.Background())
			if took := time.Since(began); took < limit || took > limit+2*time.Second {
				t.Errorf("took %s, want about %s", took, limit)
			}
			if !errors.Is(err, pgpool.ErrExhausted) || !errors.Is(err, context.DeadlineExceeded) ||
				errors.Is(err, pgpool.ErrNotAnswering) {
				t.Errorf("error is %v, want ErrExhausted and DeadlineExceeded", err)
			}
			if got := pgerr.Of(err); got != pgerr.Saturated || pgerr.Retryable(err) {
				t.Errorf("pgerr says %s, retryable %v; want saturated, not retryable", got, pgerr.Retryable(err))
			}
			var figures *pgpool.AcquireError
			if !errors.As(err, &figures) || figures.Max != 2 || figures.Total != 2 || figures.InUse != 2 ||
				figures.Waiting < 1 || figures.OwnDeadline {
				t.Errorf("error is %+v, want 2 of 2 in use", figures)
			}
			for _, want := range []string{
				"acquire: ", "the pool is busy", "limit 2, total 2, in use 2, idle 0, constructing 0, waiting ",
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestWaitingCallersAreCountedDown(t *testing.T) {
	t.Parallel()
	pool := exhausted(t)
	for range 3 {
		_, err := pool.Acquire(t.Context())
		var figures *pgpool.AcquireError
		if !errors.As(err, &figures) || figures.Waiting != 1 {
			t.Fatalf("error is %v, want one caller waiting: this one", err)
		}
	}
}

func TestCallersOwnDeadlineIsNamed(t *testing.T) {
	t.Parallel()
	pool := exhausted(t, pgpool.WithAcquireTimeout(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := pool.Acquire(ctx)
	var figures *pgpool.AcquireError
	if !errors.As(err, &figures) || !figures.OwnDeadline || !errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want ErrExhausted by the caller's deadline", err)
	}
}

func TestCallersCancellationIsNoExhaustion(t *testing.T) {
	t.Parallel()
	pool := exhausted(t)
	_, err := pool.Acquire(canceled(t))
	if !errors.Is(err, context.Canceled) || errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want context.Canceled only", err)
	}
}

func TestAcquireTimeoutDoesNotCutQueries(t *testing.T) {
	t.Parallel()
	pool := connect(t, database(t), pgpool.WithAcquireTimeout(limit))
	if _, err := pool.Exec(t.Context(), `select pg_sleep($1)`, 3*limit.Seconds()); err != nil {
		t.Errorf("a query longer than the acquire timeout: %v", err)
	}
}

func TestAcquireTimeoutOff(t *testing.T) {
	t.Parallel()
	pool := exhausted(t, pgpool.WithAcquireTimeout(0))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := pool.Acquire(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want pgxpool's own", err)
	}
}

func TestServerThatDoesNotAnswerIsNoExhaustion(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.ConnectTimeout = 2 * limit
	p := through(t, config, fault.Options{})
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	p.Freeze(fault.Both)
	_, err := pool.Exec(t.Context(), `select 1`)
	if !errors.Is(err, pgpool.ErrNotAnswering) || errors.Is(err, pgpool.ErrExhausted) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want ErrNotAnswering and DeadlineExceeded", err)
	}
	if got := pgerr.Of(err); got != pgerr.Timeout {
		t.Errorf("category is %s, want timeout", got)
	}
	if !strings.Contains(err.Error(), "the server does not answer") ||
		!strings.Contains(err.Error(), "constructing 1") {
		t.Errorf("error is %q, want it to name the server", err)
	}
}

// A connection that answered a ping says nothing about a pool that is busy later.
func TestPingsOfThePastAreNoSignOfASilentServer(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
	for range 4 {
		if err := pool.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := pool.Acquire(t.Context()); !errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want ErrExhausted", err)
	}
}

// A hook that asks the server for longer than the limit gets an AcquireError like any other wait.
func TestLimitEndsWithinAHook(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(*pgxpool.Config, func(context.Context, *pgx.Conn) error){
		"PrepareConn": func(config *pgxpool.Config, ask func(context.Context, *pgx.Conn) error) {
			config.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
				err := ask(ctx, conn)
				return err == nil, err
			}
		},
		"BeforeAcquire": func(config *pgxpool.Config, ask func(context.Context, *pgx.Conn) error) {
			config.BeforeAcquire = func(ctx context.Context, conn *pgx.Conn) bool { //nolint:staticcheck // still in use
				return ask(ctx, conn) == nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			hook(config, func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, `select pg_sleep(60)`)
				return err
			})
			pool := connect(t, config, pgpool.WithAcquireTimeout(limit))
			_, err := pool.Acquire(t.Context())
			var figures *pgpool.AcquireError
			if !errors.As(err, &figures) || !errors.Is(err, pgpool.ErrNotAnswering) ||
				!errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want an AcquireError", err)
			}
		})
	}
}

// wrapping is a tracer that wraps the context so that its Err method is hidden.
type wrapping struct{ cancel context.CancelFunc }

func (*wrapping) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*wrapping) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (w *wrapping) TraceAcquireStart(
	ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData,
) context.Context {
	ctx, w.cancel = context.WithTimeout(ctx, time.Hour)
	return ctx
}

func (w *wrapping) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {
	w.cancel()
}

func TestAcquireTimeoutBesideOtherTracers(t *testing.T) {
	t.Parallel()
	pool := exhausted(t, pgpool.WithTracer(&wrapping{}))
	if _, err := pool.Acquire(t.Context()); !errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want ErrExhausted", err)
	}
}
