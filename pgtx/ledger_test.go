package pgtx_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
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

// ledgerAttempts are enough for transfers that meet in opposite directions: the limit is not what the test is about.
const ledgerAttempts = 30

// TestLedger breaks connections at and around COMMIT under concurrent transfers, each attempt of which writes a line, and
// compares what the callers were told with the lines that are there. PGTX_FAULTS sets the number of faults; the
// ordinary run has a few of each kind, but none for which a client waits.
func TestLedger(t *testing.T) {
	t.Parallel()
	faults, err := strconv.Atoi(os.Getenv("PGTX_FAULTS"))
	long := err == nil && faults > 0
	for name, run := range map[string]runner{
		"pgtx":                 with(pgtx.Options{MaxAttempts: ledgerAttempts}),
		"pgtx eager":           with(pgtx.Options{MaxAttempts: ledgerAttempts, Eager: true}),
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
		})
	}
}

// fault is what one attempt of a transfer meets.
type fault struct {
	name  string
	where cut
	// killed is called with what ends the attempt's backend, when the function is in the middle of its work or, if
	// atCommit, when COMMIT is on its way to the server.
	killed   func(l *ledger, kill func())
	atCommit bool
}

// holes reports whether the client gets no answer, on a connection that stays open.
func (f fault) holes() bool { return f.where == hang || f.where == hangAfter }

// faultKinds are all kinds, those that take seconds less often than the others, or only if holes says so at all.
func faultKinds(holes bool) []fault {
	at := func(_ *ledger, kill func()) { kill() }
	around := func(l *ledger, kill func()) {
		l.background.Go(func() {
			time.Sleep(rand.N(3 * time.Millisecond)) // any moment will do
			kill()
		})
	}
	kinds := []fault{
		{name: "cut before COMMIT", where: beforeCommit},
		{name: "cut inside COMMIT", where: insideCommit},
		{name: "cut inside the answer", where: insideAnswer},
		{name: "cut after COMMIT", where: afterCommit},
		{name: "backend killed in the function", killed: at},
		{name: "backend killed at random", killed: around},
		{name: "backend killed before COMMIT", killed: at, atCommit: true},
		{name: "backend killed during COMMIT", killed: around, atCommit: true},
	}
	if holes {
		all := []fault{{name: "black hole before COMMIT", where: hang}, {name: "black hole after COMMIT", where: hangAfter}}
		for range 4 {
			all = append(all, kinds...)
		}
		return all
	}
	return kinds
}

// ledger is a database of accounts and a line for each transfer that was applied, and what their callers were told.
type ledger struct {
	*bundle
	proxy   *proxy
	pool    *pgxpool.Pool // through the proxy
	workers int

	background sync.WaitGroup // kills
	mu         sync.Mutex
	met        map[string]int // faults
	told       map[int]error
}

// ledgerAccounts is how many there are. One transfer in eight is between the first two, which deadlocks now and then.
const ledgerAccounts = 1000

func newLedger(t *testing.T, b *bundle, workers int) *ledger {
	t.Helper()
	l := &ledger{bundle: b, workers: workers, met: map[string]int{}, told: map[int]error{}}
	// The server looks for deadlocks only after deadlock_timeout, 1 s by default, which would be nearly all of the time.
	for _, sql := range []string{
		`create table lines (transfer int, attempt int, source int not null, target int not null, primary key (transfer, attempt))`,
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
	l.proxy, l.pool = startProxy(t, u.String(), never)
	return l
}

// work makes as many transfers as there are faults to meet, of the kinds in turn.
func (l *ledger) work(t *testing.T, run runner, kinds []fault, faults int) {
	t.Helper()
	// Whatever hangs ends here, with a name, and not at the limit of go test.
	whole, cancel := context.WithTimeout(t.Context(), 30*time.Second+time.Duration(faults)*50*time.Millisecond)
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
func (l *ledger) transfer(n int, f fault, giveUp context.CancelFunc) func(context.Context, pgx.Tx) error {
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
		conn := tx.Conn().PgConn()
		meet := func() {
			met.Store(true)
			l.count(f)
			if f.killed != nil {
				f.killed(l, func() { l.kill(conn.PID()) })
			}
			if f.holes() {
				giveUp() // COMMIT has a limit of its own from then on
			}
		}
		switch {
		case met.Load(), f.name == "":
			l.proxy.plan(conn, plan{})
		case f.killed != nil && !f.atCommit:
			l.proxy.plan(conn, plan{})
			meet()
		default:
			l.proxy.plan(conn, plan{where: f.where, met: meet})
		}
		if _, err := tx.Exec(ctx, `insert into lines values ($1, $2, $3, $4)`, n, attempt, source, target); err != nil {
			return err
		}
		return add(ctx, tx, target, 1)
	}
}

func (l *ledger) count(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met[f.name]++
}

// kill ends a backend and waits until it is gone. That it is gone already, or serves another attempt by now, does no harm.
func (l *ledger) kill(pid uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = l.bundle.pool.Exec(ctx, `select pg_terminate_backend(pid, 5000) from pg_stat_activity
		where pid = $1 and datname = current_database()`, pid)
}

// verdict counts transfers by what their caller was told and what is in the ledger.
type verdict struct {
	faults                         map[string]int
	committed, failed              int // as they were told
	unknownApplied, unknownMissing int
	lost                           int // told that it committed, and it is not there
	doubled                        int // there more than once
	denied                         int // told that it failed, and it is there
}

func (v verdict) wrong() int { return v.lost + v.doubled + v.denied }

func (v verdict) String() string {
	var b strings.Builder
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(v.faults)) {
		sum += v.faults[name]
		fmt.Fprintf(&b, "\n%6d %s", v.faults[name], name)
	}
	return fmt.Sprintf("%d faults: %d told committed, %d failed, %d unknown (%d of them applied); %d lost, %d doubled, %d denied%s",
		sum, v.committed, v.failed, v.unknownApplied+v.unknownMissing, v.unknownApplied, v.lost, v.doubled, v.denied, &b)
}

// audit compares what the callers were told with the lines, and the balances with the lines.
func (l *ledger) audit(t *testing.T) verdict {
	t.Helper()
	l.eventually(t, `select count(*) = 1 from pg_stat_activity where datname = current_database() and (state <> 'idle' or pid = pg_backend_pid())`)
	l.eventually(t, `select not exists (select from accounts a where balance <> 100
		- (select count(*) from lines where source = a.id) + (select count(*) from lines where target = a.id))`)
	return l.judge(l.lines(t))
}

// line is an attempt that was applied.
type line struct{ transfer, attempt int }

func (b *bundle) lines(t *testing.T) map[line]bool {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `select transfer, attempt from lines`)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[line]bool{}
	var next line
	if _, err := pgx.ForEachRow(rows, []any{&next.transfer, &next.attempt}, func() error { lines[next] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return lines
}

func (l *ledger) judge(lines map[line]bool) verdict {
	applied := map[int]int{}
	for line := range lines {
		applied[line.transfer]++
	}
	v := verdict{faults: l.met}
	for n, err := range l.told {
		there := applied[n]
		if there > 1 {
			v.doubled++
		}
		switch {
		case errors.As(err, new(*pgtx.CommitUnknownError)) && there == 0:
			v.unknownMissing++
		case errors.As(err, new(*pgtx.CommitUnknownError)):
			v.unknownApplied++
		case err == nil:
			v.committed++
			if there == 0 {
				v.lost++
			}
		default:
			v.failed++
			if there > 0 {
				v.denied++
			}
		}
	}
	return v
}
