package pgtx_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// What happens to the whole server needs servers of the test's own, which take seconds to make:
// these tests run if PGTX_FAULTS is set.
func needsFaults(t *testing.T) {
	t.Helper()
	if os.Getenv("PGTX_FAULTS") == "" {
		t.Skip("PGTX_FAULTS is not set")
	}
}

// whileTransferring makes transfers, half of them verified, until during returns, which can wait
// for some more of them to be told committed.
func (l *ledger) whileTransferring(t *testing.T, ctx context.Context, during func(committed func(n int))) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	plain := pgtx.Options{MaxAttempts: ledgerAttempts}
	checked := pgtx.Options{MaxAttempts: ledgerAttempts, VerifyCommit: true, VerifyTimeout: 3 * time.Second}
	var next, committed atomic.Int64
	var stop atomic.Bool
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				n := int(next.Add(1))
				run := with(plain)
				if n%2 == 0 {
					run = with(checked)
				}
				err := run(ctx, l.pool, l.transfer(n, mishap{}, cancel))
				l.tell(n, err)
				if err == nil {
					committed.Add(1)
				}
			}
		})
	}
	defer func() {
		stop.Store(true)
		workers.Wait()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Error("the transfers did not end in time")
		}
	}()
	during(func(n int) {
		t.Helper()
		for want := committed.Load() + int64(n); committed.Load() < want; time.Sleep(time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatal("no transfer commits")
			}
		}
	})
}

func (v verdict) check(t *testing.T) {
	t.Helper()
	t.Logf("%s", v)
	if v.wrong() != 0 {
		t.Error("a caller was told what is not so")
	}
}

func TestLedgerAcrossCrash(t *testing.T) {
	t.Parallel()
	needsFaults(t)
	server := fault.NewServer(t, fault.ServerOptions{})
	l := newLedger(t, setupOn(t, server.URL()), 8)
	l.whileTransferring(t, t.Context(), func(committed func(int)) {
		for range 3 {
			committed(50)
			server.Kill(t)
			server.Start(t)
		}
		committed(50)
	})
	l.reconnect(t)
	l.audit(t).check(t)
}

// reconnect replaces the connections that a test's own looks go through.
func (b *bundle) reconnect(t *testing.T) {
	t.Helper()
	b.pool.Reset()
	b.pool = connect(t, b.url)
}

// A transfer that the old primary committed and the standby never got is lost to the new one: that
// is the price of asynchronous replication, and not pgtx's to know. Both ledgers together must be
// what the callers were told.
func TestLedgerAcrossPromotionOfLaggingStandby(t *testing.T) {
	t.Parallel()
	needsFaults(t)
	primary := fault.NewServer(t, fault.ServerOptions{})
	l := newLedger(t, setupOn(t, primary.URL()), 8)
	second := primary.Standby(t, nil)
	after := &bundle{url: second.URL()}
	after.pool = connect(t, after.url)
	l.whileTransferring(t, t.Context(), func(committed func(int)) {
		committed(50)
		second.Link().Refuse()
		after.eventually(t, `select not exists (select from pg_stat_wal_receiver)`)
		committed(50)
		l.proxy.Redirect(second.URL())
		primary.Kill(t)
		second.Promote(t)
		committed(50)
	})
	primary.Start(t)
	l.reconnect(t)
	lines, kept := l.lines(t), after.lines(t)
	gone := 0
	for line := range lines {
		if !kept[line] {
			gone++
		}
	}
	if gone == 0 {
		t.Error("the standby was not behind")
	}
	for line := range kept {
		lines[line] = true
	}
	t.Logf("%d transfers were committed on the old primary only", gone)
	l.judge(lines).check(t)
}

// What was told to be committed under synchronous replication must be on the standby, whatever
// happened to those that were waiting for it.
func TestLedgerWithoutSynchronousStandby(t *testing.T) {
	t.Parallel()
	needsFaults(t)
	primary := fault.NewServer(t, fault.ServerOptions{})
	l := newLedger(t, setupOn(t, primary.URL()), 8)
	second := primary.Standby(t, nil)
	l.exec(t, `alter system set synchronous_standby_names = '*'`)
	l.exec(t, `select pg_reload_conf()`)
	l.eventually(t, `select exists (select from pg_stat_replication where sync_state = 'sync')`)
	const waiting = `from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()`
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	l.whileTransferring(t, ctx, func(committed func(int)) {
		committed(50)
		second.Stop(t)
		// At least half of the workers wait: others may be behind their locks. Those that wait
		// first are killed, of those after them the callers' patience ends.
		for range 2 {
			l.eventually(t, `select count(*) >= 4 `+waiting)
			l.exec(t, `select pg_terminate_backend(pid, 5000) `+waiting)
		}
		l.eventually(t, `select count(*) >= 4 `+waiting)
		giveUp()
	})
	l.judge(l.lines(t)).check(t) // nothing was repeated that only waited for the standby
	primary.Kill(t)
	second.Start(t)
	after := &bundle{url: second.URL()}
	after.pool = connect(t, after.url)
	second.Promote(t)
	v := l.judge(after.lines(t))
	v.check(t)
	if v.unknown() < l.workers {
		t.Error("an outcome that nobody can know was told")
	}
}
