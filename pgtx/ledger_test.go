package pgtx_test

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"github.com/page-builder/persistence/pgtx"
)

// runner is a way to run a function in a transaction.
type runner func(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx) error) error

func with(opts pgtx.Options) runner {
	return func(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx) error) error {
		return pgtx.RunWith(ctx, pool, opts, fn)
	}
}

// naive is the control: it trusts pgconn.SafeToRetry.
func naive(ctx context.Context, pool *pgxpool.Pool, fn func(context.Context, pgx.Tx) error) (err error) {
	for range ledgerAttempts {
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fn(ctx, tx) })
		if err == nil || !pgconn.SafeToRetry(err) && !pgerr.Retryable(err) {
			return err
		}
	}
	return err
}

// ledgerAttempts are enough for transfers that meet in opposite directions: the limit is not what
// the test is about.
const ledgerAttempts = 30

// TestLedger breaks connections at and around COMMIT under concurrent transfers, each attempt of
// which writes a line, and compares what the callers were told with the lines that are there.
// PGTX_FAULTS sets the number of faults; the ordinary run has a few of each kind, but none for
// which a client waits.
func TestLedger(t *testing.T) {
	needsLocalTables(t)
	t.Parallel()
	faults, err := strconv.Atoi(os.Getenv("PGTX_FAULTS"))
	long := err == nil && faults > 0
	for name, run := range map[string]runner{
		"pgtx":       with(pgtx.Options{MaxAttempts: ledgerAttempts}),
		"pgtx eager": with(pgtx.Options{MaxAttempts: ledgerAttempts, Eager: true}),
		// Under load a pool may take its time to notice what is dead: the limit is not what the
		// test is about.
		"pgtx, verified": with(pgtx.Options{
			MaxAttempts: ledgerAttempts, VerifyCommit: true, VerifyTimeout: time.Minute,
		}),
		"control: SafeToRetry": naive,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t, setup(t), 8)
			kinds := faultKinds(false)
			if long {
				l = newLedger(t, setup(t), 48)
				kinds = faultKinds(true)
			}
			l.work(t, run, kinds, max(faults, 5*len(kinds)))
			result := l.audit(t)
			t.Logf("%s", result)
			if strings.HasPrefix(name, "control") {
				if result.wrong() == 0 {
					t.Error("the control neither lost nor doubled a transfer: the test has no teeth")
				}
				return
			}
			if result.wrong() != 0 {
				t.Error("a caller was told what is not so")
			}
			if strings.HasSuffix(name, "verified") && result.unknown() != 0 {
				t.Error("an outcome is unknown although the server was there all the time")
			}
		})
	}
}

// ledger is a database of accounts and a line for each transfer that was applied, and what their
// callers were told.
type ledger struct {
	*bundle
	proxy   *fault.Proxy
	pool    *pgxpool.Pool // through the proxy
	workers int

	background sync.WaitGroup // kills
	mu         sync.Mutex
	planned    map[uint32]func() fault.Cut // what the next COMMIT of a connection meets, by its PID
	met        map[string]int              // faults
	told       map[int]error
}

// ledgerAccounts is how many there are. One transfer in eight is between the first two, which
// deadlocks now and then.
const ledgerAccounts = 1000

func newLedger(t *testing.T, b *bundle, workers int) *ledger {
	t.Helper()
	l := &ledger{bundle: b, workers: workers, told: map[int]error{}}
	l.planned, l.met = map[uint32]func() fault.Cut{}, map[string]int{}
	// The server looks for deadlocks only after deadlock_timeout, 1 s by default, which would be
	// nearly all of the time.
	for _, sql := range []string{
		`create table lines (transfer int, attempt int, source int not null, target int not null,
			primary key (transfer, attempt))`,
		`insert into accounts select n, 100 from generate_series(3, ` + strconv.Itoa(ledgerAccounts) + `) n`,
		`do $$ begin execute format('alter database %I set deadlock_timeout = ''10ms''', current_database()); end $$`,
	} {
		if _, err := l.bundle.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(l.url)
	if err != nil {
		t.Fatal("cannot parse the test database's URL")
	}
	query := u.Query()
	query.Set("pool_max_conns", strconv.Itoa(workers))
	u.RawQuery = query.Encode()
	l.proxy, l.pool = cutCommit(t, u.String(), fault.Pass)
	l.proxy.OnRequest(func(r fault.Request) fault.Cut {
		if !r.Commit {
			return fault.Pass
		}
		l.mu.Lock()
		meet := l.planned[r.PID]
		delete(l.planned, r.PID)
		l.mu.Unlock()
		if meet == nil {
			return fault.Pass
		}
		return meet()
	})
	return l
}

// plan replaces what the next COMMIT of a connection meets; nil is nothing.
func (l *ledger) plan(pid uint32, meet func() fault.Cut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.planned[pid] = meet
}

// work makes as many transfers as there are faults to meet, of the kinds in turn.
func (l *ledger) work(t *testing.T, run runner, kinds []mishap, faults int) {
	t.Helper()
	// Whatever hangs ends here, with a name, and not at the limit of go test.
	whole, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(faults)*200*time.Millisecond)
	defer cancel()
	var workers sync.WaitGroup
	for worker := range l.workers {
		workers.Go(func() {
			for n := worker; n < faults && whole.Err() == nil; n += l.workers {
				ctx, cancel := context.WithCancel(whole)
				l.tell(n, run(ctx, l.pool, l.transfer(n, kinds[n%len(kinds)], cancel)))
				cancel()
			}
		})
	}
	workers.Wait()
	l.background.Wait()
	if whole.Err() != nil {
		t.Fatal("the transfers did not end in time")
	}
	met := 0
	for _, n := range l.met {
		met += n
	}
	if met < faults*9/10 { // not all: some transfers meet another's kill before their own fault
		t.Errorf("only %d of %d faults were met", met, faults)
	}
}

func (l *ledger) tell(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[n] = err
}

// transfer is the function of transfer n, which meets f once, or nothing if f is zero.
func (l *ledger) transfer(n int, f mishap, giveUp context.CancelFunc) func(context.Context, pgx.Tx) error {
	source, target := 3+n%(ledgerAccounts-2), 3+(n*7+1)%(ledgerAccounts-2)
	if n%8 == 0 && !f.holes() { // a black hole keeps the accounts locked for seconds
		source, target = 1+n/8%2, 2-n/8%2
	}
	attempt := 0
	var met atomic.Bool
	return func(ctx context.Context, tx pgx.Tx) error {
		attempt++
		if err := add(ctx, tx, source, -1); err != nil {
			return err
		}
		pid := tx.Conn().PgConn().PID()
		meet := func() fault.Cut {
			met.Store(true)
			l.count(f)
			if f.killed != nil {
				f.killed(l, func() { l.kill(pid) })
			}
			if f.holes() {
				giveUp() // COMMIT has a limit of its own from then on
			}
			return f.where
		}
		switch {
		case met.Load(), f.name == "":
			l.plan(pid, nil)
		case f.killed != nil && !f.atCommit:
			l.plan(pid, nil)
			meet()
		default:
			l.plan(pid, meet)
		}
		if _, err := tx.Exec(ctx, `insert into lines values ($1, $2, $3, $4)`, n, attempt, source, target); err != nil {
			return err
		}
		return add(ctx, tx, target, 1)
	}
}

func (l *ledger) count(f mishap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met[f.name]++
}

// kill ends a backend and waits until it is gone. That it is gone already, or serves another
// attempt by now, does no harm.
func (l *ledger) kill(pid uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = l.bundle.pool.Exec(ctx, `select pg_terminate_backend(pid, 5000) from pg_stat_activity
		where pid = $1 and datname = current_database()`, pid)
}
