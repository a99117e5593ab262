package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestConnectWarmsIdleConnections(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.Parse(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MinIdleConns, cfg.MaxConns = 3, 5
	var log logs
	pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if stat := pool.Stat(); stat.IdleConns() < 3 || stat.MaxConns() != 5 {
		t.Errorf("%d idle of at most %d, want 3 and 5", stat.IdleConns(), stat.MaxConns())
	}
	var one int
	if err := pool.QueryRow(t.Context(), `select 1`).Scan(&one); err != nil || one != 1 {
		t.Errorf("query returned %d, %v", one, err)
	}
	if len(log.Lines("database connected")) != 1 {
		t.Errorf("log is %q, want one line about the connection", &log)
	}
}

func TestConnectUsesTheConfigsLimits(t *testing.T) {
	t.Parallel()
	cfg, err := pgconfig.Parse(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.MinIdleConns = 1, 1
	cfg.AcquireTimeout = 200 * time.Millisecond
	cfg.SlowQuery = time.Nanosecond
	var log logs
	pool, err := pgpool.Connect(t.Context(), cfg, pgpool.WithLogger(log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := pool.Exec(t.Context(), `select 1`); !errors.Is(err, pgpool.ErrExhausted) {
		t.Errorf("error is %v, want ErrExhausted", err)
	}
	if _, err := conn.Exec(t.Context(), `select 2`); err != nil || len(log.Lines("slow query")) != 1 {
		t.Errorf("error is %v, log is %q; want one slow query", err, &log)
	}
}

func TestConnectWaitsForLateServer(t *testing.T) {
	t.Parallel()
	config := database(t)
	p := through(t, config, fault.Options{})
	p.Refuse()
	var once sync.Once
	log := logs{OnWrite: func(line string) {
		if strings.Contains(line, "attempt=1 ") {
			once.Do(p.Heal)
		}
	}}
	pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	waits := log.Lines("trying again")
	if len(waits) == 0 || !strings.Contains(waits[0], "category=refused") {
		t.Errorf("log is %q, want a refused attempt", &log)
	}
}

func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	const budget = 300 * time.Millisecond
	tests := []struct {
		name     string
		prepare  func(*fault.Proxy)
		category pgerr.Category
		attempts int // at least
		text     string
	}{
		{"refused", (*fault.Proxy).Refuse, pgerr.Refused, 2, "check that PostgreSQL runs"},
		{"black hole", func(p *fault.Proxy) {
			p.Freeze(fault.Both)
		}, pgerr.Timeout, 1, "does not answer as PostgreSQL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := database(t)
			tt.prepare(through(t, config, fault.Options{}))
			began := time.Now()
			_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil),
				pgpool.WithStartupTimeout(budget))
			took := time.Since(began)

			var failed *pgpool.StartupError
			if !errors.As(err, &failed) {
				t.Fatalf("error is %v, want a StartupError", err)
			}
			if failed.Attempts < tt.attempts || failed.Err == nil ||
				!errors.Is(failed.Ended, context.DeadlineExceeded) {
				t.Errorf("got %+v, want %d attempts or more, a cause, and the timeout", failed, tt.attempts)
			}
			if got := pgerr.Of(err); got != tt.category {
				t.Errorf("category is %s, want %s", got, tt.category)
			}
			if !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), "start-up timeout of 300ms") {
				t.Errorf("error is %q, want %q and the timeout in it", err, tt.text)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q is more than one line", err)
			}
			if took < budget || took > budget+2*time.Second {
				t.Errorf("took %s, want about %s", took, budget)
			}
		})
	}
}

// An attempt that the budget interrupts says nothing about the database; the previous one does.
func TestConnectKeepsTheLastErrorThatTellsSomething(t *testing.T) {
	t.Parallel()
	config := database(t)
	p := through(t, config, fault.Options{})
	p.Refuse()
	log := logs{OnWrite: func(line string) {
		if strings.Contains(line, "attempt=1") {
			p.Heal()
			p.Freeze(fault.Both) // before the second attempt, which comes after a wait
		}
	}}
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(log.Logger()),
		pgpool.WithStartupTimeout(time.Second))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 2 || pgerr.Of(err) != pgerr.Refused {
		t.Errorf("error is %v, want the refusal before the second attempt that hung", err)
	}
}

// Behind PgBouncer a login succeeds while the server is down: Connect wants an answer to a query.
func TestConnectWantsAnAnswer(t *testing.T) {
	t.Parallel()
	config := database(t)
	connects := 0
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if connects++; connects == 1 {
			return conn.PgConn().Conn().Close() // after the login
		}
		return nil
	}
	var log logs
	connect(t, config, pgpool.WithLogger(log.Logger()))
	if len(log.Lines("trying again")) != 1 {
		t.Errorf("log is %q, want a second attempt", &log)
	}
}

func TestConnectReturnsWhenContextEnds(t *testing.T) {
	t.Parallel()
	config := database(t)
	through(t, config, fault.Options{}).Refuse()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := logs{OnWrite: func(line string) {
		if strings.Contains(line, "attempt=2") {
			cancel()
		}
	}}
	_, err := pgpool.ConnectConfig(ctx, config, pgpool.WithLogger(log.Logger()), pgpool.WithStartupTimeout(0))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v, want the cancellation and the last error of the database", err)
	}

	_, err = pgpool.ConnectConfig(canceled(t), config, pgpool.WithLogger(nil))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a StartupError without an attempt", err)
	}
}

func TestConnectFailsAtOnceForMissingDatabase(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.ConnConfig.Database = "no_such_database"
	var log logs
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(log.Logger()))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || failed.Attempts != 1 || failed.Ended != nil {
		t.Fatalf("error is %v, want a StartupError after one attempt", err)
	}
	if got := pgerr.Of(err); got != pgerr.Config || !strings.Contains(err.Error(), "created first") {
		t.Errorf("error is %v of category %s, want config and what to do", err, got)
	}
	if len(log.Lines("trying again")) != 0 {
		t.Errorf("log is %q, want no further attempt", &log)
	}
}

func TestConnectConfigRefusesIncompleteConfig(t *testing.T) {
	t.Parallel()
	incomplete := *database(t)
	incomplete.ConnConfig = nil
	if _, err := pgpool.ConnectConfig(t.Context(), &incomplete); err == nil {
		t.Error("without a ConnConfig: no error")
	}
	if _, err := pgpool.ConnectConfig(t.Context(), nil); err == nil {
		t.Error("nil: no error")
	}
	if _, err := pgpool.Connect(t.Context(), pgconfig.Config{}); err == nil {
		t.Error("zero pgconfig.Config: no error")
	}
}

func TestConnectConfigLeavesItsArgumentAlone(t *testing.T) {
	t.Parallel()
	config := database(t)
	timeout := config.ConnConfig.ConnectTimeout
	connect(t, config)
	if config.ConnConfig.Tracer != nil || config.ConnConfig.ConnectTimeout != timeout {
		t.Error("the caller's configuration was changed")
	}
}
