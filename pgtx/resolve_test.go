package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// broken runs a transfer whose COMMIT breaks, and returns the error that is left to Resolve.
func broken(t *testing.T, url string, where fault.Cut) *pgtx.CommitUnknownError {
	t.Helper()
	_, pool := cutCommit(t, url, where)
	opts := pgtx.Options{VerifyCommit: true, VerifyTimeout: -1}
	err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
		return add(ctx, tx, 1, -10)
	})
	var unknown *pgtx.CommitUnknownError
	if !errors.As(err, &unknown) || unknown.XID == "" || unknown.Server == "" {
		t.Fatalf("error is %v, want a CommitUnknownError that can be resolved", err)
	}
	return unknown
}

func TestResolveLater(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		where     fault.Cut
		committed bool
	}{
		"not received": {fault.BeforeRequest, false},
		"answer lost":  {fault.BeforeAnswer, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			met := broken(t, b.url, tt.where)
			conn, err := b.pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Release()
			begun, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer begun.Rollback(t.Context())
			// As another process would.
			later := &pgtx.CommitUnknownError{XID: met.XID, Server: met.Server}
			for _, db := range []pgtx.DB{b.pool, conn} {
				committed, err := later.Resolve(t.Context(), db)
				if err != nil || committed != tt.committed {
					t.Errorf("on a %T: committed is %v, error %v", db, committed, err)
				}
			}
		})
	}
}

// A backend that does not learn that its client is gone holds the transaction open: it is ended.
func TestVerifyCommitFencesABlackHole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, pool := cutCommit(t, b.url, fault.AbandonRequest)
	calls := 0
	err := pgtx.RunWith(t.Context(), pool, verified, func(ctx context.Context, tx pgx.Tx) error {
		calls++
		return add(ctx, tx, 1, -10)
	})
	if got := b.balance(t, 1); err != nil || calls != 2 || got != 90 {
		t.Errorf("error is %v after %d calls with a balance of %d, want none, 2 and 90", err, calls, got)
	}
}

// One server of its own for what changes all of it: to make one takes seconds.
func TestVerifyCommitOnOwnServer(t *testing.T) {
	t.Parallel()
	s := setupOwn(t)
	t.Run("synchronous replication", func(t *testing.T) { verifyUnderSynchronousReplication(t, s) })
	t.Run("another run", func(t *testing.T) { resolveAfterRestart(t, s) })
}

// After any of these the server may give the same transaction ids again.
func resolveAfterRestart(t *testing.T, s *ownBundle) {
	for name, do := range map[string]func(*testing.T){"restart": s.restart, "crash of a backend": s.killBackend} {
		t.Run(name, func(t *testing.T) {
			unknown := []*pgtx.CommitUnknownError{
				broken(t, s.url, fault.BeforeRequest), broken(t, s.url, fault.BeforeAnswer),
			}
			do(t)
			s.answers(t)
			for _, met := range unknown {
				committed, err := met.Resolve(t.Context(), s.pool)
				if !errors.Is(err, pgtx.ErrServerChanged) || committed {
					t.Errorf("committed is %v, error %v, want ErrServerChanged", committed, err)
				}
			}
		})
	}
}

func TestResolveWithStandby(t *testing.T) {
	t.Parallel()
	needsFaults(t)
	s := setupOwn(t)
	second := s.server.Standby(t, nil)

	// A synchronous one that confirms settles it at once.
	s.set(t, "synchronous_standby_names", "*")
	s.eventually(t, `select exists (select from pg_stat_replication where sync_state = 'sync')`)
	for _, where := range []fault.Cut{fault.BeforeRequest, fault.BeforeAnswer} {
		met := broken(t, s.url, where)
		committed, err := met.Resolve(t.Context(), s.pool)
		if err != nil || committed != (where == fault.BeforeAnswer) {
			t.Errorf("synchronous: committed is %v, error %v", committed, err)
		}
	}

	// One that is stopped leaves it open until it is back.
	second.Stop(t)
	waits := broken(t, s.url, fault.AbandonAnswer)
	short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if committed, err := waits.Resolve(short, s.pool); !errors.Is(err, pgtx.ErrUnresolved) {
		t.Errorf("standby stopped: committed is %v, error %v, want ErrUnresolved", committed, err)
	}
	second.Start(t)
	s.eventually(t, `select exists (select from pg_stat_replication where sync_state = 'sync')`)
	if committed, err := waits.Resolve(t.Context(), s.pool); err != nil || !committed {
		t.Errorf("standby started: committed is %v, error %v, want true", committed, err)
	}
	s.set(t, "synchronous_standby_names", "")

	// From here on it does not apply what is committed.
	second.PauseReplay(t)
	standby := connect(t, second.URL())
	met := []*pgtx.CommitUnknownError{broken(t, s.url, fault.BeforeRequest), broken(t, s.url, fault.BeforeAnswer)}
	ask := func(when string) {
		for _, unknown := range met {
			committed, err := unknown.Resolve(t.Context(), standby)
			if !errors.Is(err, pgtx.ErrServerChanged) || committed {
				t.Errorf("%s: committed is %v, error %v, want ErrServerChanged", when, committed, err)
			}
		}
	}
	ask("standby")
	second.Promote(t)
	ask("promoted")
}

// A transaction that waits for a standby is neither ended nor taken for committed before the
// standby has it.
func verifyUnderSynchronousReplication(t *testing.T, s *ownBundle) {
	soon := pgtx.Options{VerifyCommit: true, VerifyTimeout: 1500 * time.Millisecond}
	waiting := `select exists (select from pg_stat_activity where wait_event = 'SyncRep')`
	for name, tt := range map[string]struct {
		deaf bool
		act  string // while COMMIT waits
	}{
		"the connection breaks": {true, ""},
		"somebody terminates it": {
			false, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.balance(t, 1)
			s.set(t, "synchronous_standby_names", "nobody")
			pool := s.pool
			if tt.deaf {
				_, pool = cutCommit(t, s.url, fault.AbandonAnswer)
			}
			result := make(chan error, 1)
			go func() {
				result <- pgtx.RunWith(t.Context(), pool, soon, func(ctx context.Context, tx pgx.Tx) error {
					return add(ctx, tx, 1, -10)
				})
			}()
			if tt.act != "" {
				s.eventually(t, waiting)
				if _, err := s.pool.Exec(t.Context(), tt.act); err != nil {
					t.Fatal(err)
				}
			}
			var unknown *pgtx.CommitUnknownError
			if err := <-result; !errors.As(err, &unknown) || !errors.Is(err, pgtx.ErrUnresolved) {
				t.Errorf("error is %v, want a CommitUnknownError with ErrUnresolved", err)
			}
			if tt.act == "" {
				if got := s.balance(t, 1); got != before {
					t.Errorf("balance is %d, want %d: the backend was to be left waiting", got, before)
				}
			}
			// Without a standby to wait for, it is committed.
			s.set(t, "synchronous_standby_names", "")
			if unknown != nil {
				if committed, err := unknown.Resolve(t.Context(), s.pool); err != nil || !committed {
					t.Errorf("committed is %v, error %v, want true", committed, err)
				}
			}
		})
	}
}

// Other notices at COMMIT do not put its success in doubt.
func TestVerifyCommitIgnoresOtherNotices(t *testing.T) {
	needsLocalTables(t)
	t.Parallel()
	b := setup(t)
	if _, err := b.pool.Exec(t.Context(), `
		create function warn() returns trigger language plpgsql as $$ begin raise warning 'late'; return null; end $$;
		create constraint trigger warn after update on accounts deferrable initially deferred
			for each row execute function warn()`); err != nil {
		t.Fatal(err)
	}
	config := b.pool.Config()
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := pgtx.RunWith(t.Context(), pool, verified, func(ctx context.Context, tx pgx.Tx) error {
		return add(ctx, tx, 1, -10)
	}); err != nil {
		t.Error(err)
	}
}

// A server without the functions is told apart, however the transaction begins.
func TestVerifyCommitUnsupported(t *testing.T) {
	t.Parallel()
	b := setup(t)
	met := broken(t, b.url, fault.BeforeAnswer)
	for _, function := range []string{"pg_xact_status(xid8)", "pg_current_xact_id()"} {
		sql := fmt.Sprintf(`alter function pg_catalog.%s rename to gone_%d`, function, len(function))
		if _, err := b.pool.Exec(t.Context(), sql); err != nil {
			t.Skipf("cannot take the function away: %v", err)
		}
	}
	if _, err := met.Resolve(t.Context(), b.pool); !errors.Is(err, pgtx.ErrVerifyUnsupported) {
		t.Errorf("error of Resolve is %v, want ErrVerifyUnsupported", err)
	}
	for _, mode := range execModes {
		pool, _ := countFlushes(t, b.url, mode)
		for first, fn := range firsts {
			for _, eager := range []bool{false, true} {
				err := pgtx.RunWith(t.Context(), pool, pgtx.Options{VerifyCommit: true, Eager: eager}, fn)
				if !errors.Is(err, pgtx.ErrVerifyUnsupported) {
					t.Errorf("%v, %s, eager %v: error is %v, want ErrVerifyUnsupported", mode, first, eager, err)
				}
			}
		}
		opts := pgtx.Options{VerifyCommit: true, TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}}
		err := pgtx.RunWith(t.Context(), pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select 1`).Scan(new(int))
		})
		if err != nil {
			t.Errorf("%v: a read-only transaction needs no id: %v", mode, err)
		}
	}
}

// The id and what identifies the server travel in flushes that are sent anyway, from the second
// transaction on a connection also in the modes that prepare statements.
func TestVerifyCommitTakesNoRoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, mode := range execModes {
		for first, fn := range firsts {
			counts := map[bool]int64{}
			for _, verify := range []bool{false, true} {
				pool, flushes := countFlushes(t, b.url, mode)
				for range 3 {
					flushes.Store(0)
					if err := pgtx.RunWith(t.Context(), pool, pgtx.Options{VerifyCommit: verify}, fn); err != nil {
						t.Fatal(err)
					}
				}
				counts[verify] = flushes.Load()
				pool.Close()
			}
			if counts[true] != counts[false] {
				t.Errorf("%v, %s: %d flushes with VerifyCommit, %d without", mode, first, counts[true], counts[false])
			}
		}
	}
}
