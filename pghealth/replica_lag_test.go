package pghealth_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A primary and its standby: idle, paused, resumed, without its primary.
func TestReplicaLag(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	master, replica := connect(t, primary.URL()), connect(t, standby.URL())

	pool := newPool(t, standby.URL())
	probe, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout, AllowReadOnly: true, WarnReplicaLag: 200 * time.Millisecond,
		MaxReplicaLag: 600 * time.Millisecond, Primary: newPool(t, primary.URL()),
	})
	both := serveBoth(t, pool, probe)
	tolerant, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout, AllowReadOnly: true,
		WarnReplicaLag: 200 * time.Millisecond,
	})
	warned := serveBoth(t, pool, tolerant)

	execute(t, master, "create table t (i int)")
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})

	// The primary is idle: the time since the last transaction grows, the lag does not. That time
	// is unknown until the first transaction arrives.
	for naive := 0.0; naive < 0.7; time.Sleep(50 * time.Millisecond) {
		if err := replica.QueryRow(t.Context(),
			"select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp())::float8, 0)",
		).Scan(&naive); err != nil {
			t.Fatal(err)
		}
	}
	c := both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	if c.ObservedValue == nil || *c.ObservedValue > 0.2 || c.ObservedUnit != "s" || c.Figures["inRecovery"] != 1 ||
		c.Figures["receivers"] != 1 {
		t.Errorf("%+v", c)
	}

	execute(t, replica, "select pg_wal_replay_pause()")
	both.want(want{http.StatusOK, "replicaLag", "warn", "", "replay is paused on the replica"})
	execute(t, master, "insert into t values (1)")
	c = both.want(want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind"})
	warned.want(want{http.StatusOK, "replicaLag", "warn", "", "the replica is far behind"}) // traffic goes on
	if *c.ObservedValue < 0.6 || c.Figures["paused"] != 1 {
		t.Errorf("%v %v", *c.ObservedValue, c.Figures)
	}
	execute(t, replica, "select pg_wal_replay_resume()")
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})

	primary.Stop(t)
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "",
		"the replica may be too far behind: it receives nothing from a primary",
	})
	// After a restart it has replayed nothing and knows no position. A probe that has asked the
	// primary remembers one.
	standby.Restart(t)
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "",
		"the replica may be too far behind: it receives nothing from a primary",
	})
	strict, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout, AllowReadOnly: true, MaxReplicaLag: 600 * time.Millisecond,
	})
	serveBoth(t, pool, strict).want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica cannot tell how far behind it is",
	})
	warned.want(want{http.StatusOK, "replicaLag", "warn", "", "the replica cannot tell how far behind it is"})
	primary.Start(t)
	execute(t, connect(t, primary.URL()), "create table u (i int)") // an idle primary may say nothing for 15 s
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
}

// A replica that receives slowly has replayed everything that it received, but is still behind.
func TestReplicaLagOnASlowLine(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	line, master, replica := standby.Link(), connect(t, primary.URL()), connect(t, standby.URL())
	execute(t, master, "create table t (i int, filler text)")

	path := fault.NewProxy(t, primary.URL(), fault.Options{}) // from the probe to the primary
	opts := pghealth.Options{
		Timeout: faultTimeout, AllowReadOnly: true, WarnReplicaLag: time.Second, MaxReplicaLag: 1100 * time.Millisecond,
	}
	pool := newPool(t, standby.URL())
	probe, _ := newProbe(t, pool, opts)
	alone := serveBoth(t, pool, probe)
	opts.Primary = newPool(t, primary.URL(), dialProxy(path))
	probe, _ = newProbe(t, pool, opts)
	asks := serveBoth(t, pool, probe)
	pass := want{http.StatusOK, "replicaLag", "pass", "", ""}
	tooFar := want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind"}
	unknown := want{
		http.StatusOK, "replicaLag", "warn", "", "the replica may be far behind: the primary's position is not known",
	}
	write := func() { execute(t, master, "insert into t values (0, '')") }
	alone.wantAfter(write, pass)
	asks.want(pass)
	// The primary is idle for longer than the limit, which is not a lag. Without the primary's
	// position it may be one.
	alone.want(unknown)
	asks.want(pass)

	// To the receiver, a line that lets nothing through looks like an idle primary.
	line.Freeze(fault.Both)
	execute(t, master, "insert into t values (0, '')")
	asks.want(tooFar)
	line.Heal()
	for _, p := range []*asked{alone, asks} {
		p.wantAfter(write, pass)
	}

	// Every message looks fresh when it arrives, but was sent long before.
	line.Rate(fault.FromServer, 500_000)
	for range 6 { // 6 MB: 12 s
		execute(t, master, "insert into t select i, repeat('x', 1000) from generate_series(1, 1000) i")
	}
	asks.want(tooFar)
	alone.want(unknown)
	var received bool
	if err := replica.QueryRow(t.Context(),
		"select pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() < 1e6").Scan(&received); err != nil || !received {
		t.Errorf("the replica has not replayed what it received: %v, %v", received, err)
	}
	line.Heal()
	asks.want(pass)

	// The primary does not answer. The replica's answer still comes in time.
	path.Freeze(fault.Both)
	asks.want(unknown)

	// Replay stops. Data that was received but not replayed shows it.
	execute(t, replica, "select pg_wal_replay_pause()")
	execute(t, master, "insert into t values (0, '')")
	alone.want(tooFar)
	asks.want(tooFar)
}

// A replica that is past the point at which the new primary began cannot follow it. Its receiver
// connects and waits.
func TestReplicaLagOfALostReplica(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	next, lost := primary.Standby(t, nil), primary.Standby(t, nil)
	next.Link().Freeze(fault.Both)
	primary.Exec(t, "create table t (i int)")
	lost.CatchUp(t)
	pool := newPool(t, lost.URL())
	probe, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout, WarnReplicaLag: -1, MaxReplicaLag: 1500 * time.Millisecond, AllowReadOnly: true,
	})
	both := serveBoth(t, pool, probe)
	stop := commitOften(t, primary.URL()) // a replica that replays nothing may be behind
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	stop()
	primary.Kill(t)
	next.Promote(t)
	lost.Link().Redirect(next.URL())
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "",
		"the replica may be too far behind: it receives nothing from a primary",
	})
}

// At the first look it is unknown how long the replica has been behind. The time since its last
// commit warns.
func TestReplicaLagAtTheFirstLook(t *testing.T) {
	t.Parallel()
	primary := scripted(t, func(string) []string { return []string{"2000"} })
	for output, pool := range map[string]*pgxpool.Pool{
		"the replica may be far behind: its lag was not measured for long enough yet": newPool(t, scriptedURL, dialPort(primary)),
		"the replica may be far behind: the primary's position is not known":          nil,
	} {
		probe := lagProbe(t, pghealth.Options{
			WarnReplicaLag: 5 * time.Second, MaxReplicaLag: 10 * time.Second, Primary: pool,
		}, func() []string { return []string{"1000", "21", "1", "start", "2000"} })
		r := probe.ready(t)
		c := r.check(t, "db:replicaLag")
		if r.code != http.StatusOK || c.Status != "warn" || c.ObservedValue == nil || *c.ObservedValue != 21 ||
			c.Output != output {
			t.Errorf("%d %+v", r.code, c)
		}
	}
}

// The receiver is gone for a moment, because it or the primary was restarted. That proves nothing
// about the lag.
func TestReplicaLagWithoutReceiverForAMoment(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second // long against an answer on a busy machine
	receivers := "1"
	probe := lagProbe(t, pghealth.Options{WarnReplicaLag: -1, MaxReplicaLag: limit},
		func() []string { return []string{"2000", "3600", receivers, "start", "2000"} })
	wantCode(t, probe.ready(t), http.StatusOK)
	time.Sleep(limit + 20*time.Millisecond) // the prober's period
	receivers = "0"
	wantCode(t, probe.ready(t), http.StatusOK)
	receivers = "1"
	wantCode(t, probe.ready(t), http.StatusOK)
	time.Sleep(limit + 20*time.Millisecond)
	receivers = "0" // the moment before does not count
	wantCode(t, probe.ready(t), http.StatusOK)
	time.Sleep(limit + 20*time.Millisecond)
	wantCode(t, probe.ready(t), http.StatusServiceUnavailable)
}

// After a failover the positions of the old primary do not count: they may be lost.
func TestReplicaLagAfterAFailover(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second // long against an answer on a busy machine
	position := 1_000_000
	primary := scripted(t, func(string) []string { return []string{strconv.Itoa(position)} })
	replayed := 900
	probe := lagProbe(t, pghealth.Options{
		WarnReplicaLag: -1, MaxReplicaLag: limit,
		Primary: newPool(t, scriptedURL, dialPort(primary)),
	}, func() []string { return []string{strconv.Itoa(replayed), "0", "1", "start", "1000000"} })
	probe.ready(t)
	for position = 1000; position < 4000; position += 1000 { // always a few bytes behind
		time.Sleep(limit + 20*time.Millisecond)
		replayed = position - 100
		wantCode(t, probe.ready(t), http.StatusOK)
	}
}

// A primary always answers too late for the current answer. The probe uses its position in the next
// one.
func TestReplicaLagWithAFarPrimary(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	slow := make(chan time.Time)
	primary := scripted(t, func(sql string) []string {
		if strings.Contains(sql, "pg_current_wal_lsn") {
			<-slow
		}
		return []string{"2000"}
	})
	defer close(slow)
	probe := lagProbe(t, pghealth.Options{
		Timeout: timeout, WarnReplicaLag: -1, MaxReplicaLag: 3 * timeout,
		Primary: newPool(t, scriptedURL, dialPort(primary)),
	}, func() []string { return []string{"1000", "0", "1", "start", "1000"} })
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := probe.ready(t)
		if c := r.check(t, "db:replicaLag"); c.Output == "the replica is too far behind" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the primary's position does not count: %s", r.body)
		}
		select {
		case slow <- time.Now(): // after the answer
		case <-time.After(timeout): // a busy machine: the primary was not asked yet
		}
	}
	if text := probe.log.String(); !strings.Contains(text, `"check":"db:primary","status":"warn"`) {
		t.Errorf("log: %s", text)
	}
}

// A replica that stays behind takes little memory, and its lag is known when replay goes on.
func TestReplicaLagForLong(t *testing.T) {
	t.Parallel()
	position, replayed := 1000, 0
	primary := scripted(t, func(string) []string { position++; return []string{strconv.Itoa(position)} })
	probe := lagProbe(t, pghealth.Options{WarnReplicaLag: -1, Primary: newPool(t, scriptedURL, dialPort(primary))},
		func() []string { return []string{strconv.Itoa(replayed), "0", "1", "start", "5000"} })
	probe.ready(t)
	began := time.Now()
	var reached, looks int
	var early time.Time
	for ; time.Since(began) < 500*time.Millisecond || looks < 300; looks++ {
		if early.IsZero() && looks > 75 {
			early, reached = time.Now(), position
		}
		probe.ready(t)
	}
	if n := probe.probe.LagMemory(); n > looks/2 {
		t.Errorf("%d positions after %d looks", n, looks)
	}
	replayed = reached // replay goes on
	least := time.Since(early) - time.Since(began)/8
	c := probe.ready(t).check(t, "db:replicaLag")
	if *c.ObservedValue < least.Seconds() {
		t.Errorf("%v behind, want at least %v", *c.ObservedValue, least)
	}
}

// A primary that cannot be asked is a warning in the log, not a failure.
func TestReplicaLagWithoutPrimary(t *testing.T) {
	t.Parallel()
	probe := lagProbe(t, pghealth.Options{WarnReplicaLag: -1, MaxReplicaLag: time.Minute, Primary: refused(t)},
		func() []string { return []string{"1000", "0", "1", "start", "1000"} })
	wantCode(t, probe.ready(t), http.StatusOK)
	if lines := probe.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], `"level":"WARN"`) ||
		!strings.Contains(lines[0], `"check":"db:primary"`) || !strings.Contains(lines[0], "refused") {
		t.Errorf("log: %q", lines)
	}
}

// lagProbe returns a probe of a standby that is not paused. row returns the other columns of the
// query for its state.
func lagProbe(t *testing.T, opts pghealth.Options, row func() []string) lagging {
	t.Helper()
	port := scripted(t, func(sql string) []string {
		switch {
		case strings.Contains(sql, "transaction_read_only"):
			return []string{"on"}
		case strings.Contains(sql, "pg_is_wal_replay_paused"):
			return append([]string{"1", "0"}, row()...)
		}
		return []string{""}
	})
	opts.AllowReadOnly = true
	pool := newPool(t, scriptedURL, dialPort(port))
	probe, log := newProbe(t, pool, opts)
	return lagging{pool, probe, log}
}

// scriptedURL names a user and a database that no answer contains by chance.
const scriptedURL = "postgres://scripted_user@127.0.0.1/scripted_database?sslmode=disable"

type lagging struct {
	pool  *pgxpool.Pool
	probe *pghealth.Probe
	log   *logs
}

func (l lagging) ready(t *testing.T) response { t.Helper(); return get(t, l.pool, l.probe.Ready()) }

// The lag is the time that the replica has been behind a position, not the time between two looks.
func TestReplicaLagBetweenLooks(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second // long against an answer on a busy machine
	const stuck, odd = "the replica is too far behind", "the replica's lag could not be read"
	const unknown = "the replica may be far behind: the primary's position is not known"
	at := strconv.Itoa
	constant := func(row ...string) func(int) []string { return func(int) []string { return row } }
	for name, test := range map[string]struct {
		primary func(look int) string   // nil: not asked
		row     func(look int) []string // from the replica's third column on
		code    int
		output  string // of the third look
	}{
		"a bulk load": { // no commit for long, and always a few bytes behind
			func(look int) string { return at(1000*look + 1000) },
			func(look int) []string { return []string{at(1000*look + 900), "3600", "1", "start", "NULL"} }, 200, "",
		},
		"one look behind": { // the primary's position at the second look arrives by the third
			func(look int) string { return at(1000 * look) },
			func(look int) []string { return []string{at(1000 * (look - 1)), "0", "1", "start", "NULL"} }, 200, "",
		},
		"two looks behind": {
			func(look int) string { return at(1000 * look) },
			func(look int) []string { return []string{at(1000*(look-1) - 1), "0", "1", "start", "NULL"} }, 503, stuck,
		},
		"stuck, and the primary's clock ahead": {
			func(int) string { return "2000" }, constant("1000", "-50", "1", "start", "NULL"), 503, stuck,
		},
		"caught up, and the primary's clock ahead": {
			func(int) string { return "2000" }, constant("2000", "-50", "1", "start", "NULL"), 200, "",
		},
		"an idle primary": {
			func(int) string { return "2000" }, constant("2000", "3600", "1", "start", "2000"), 200, "",
		},
		"a primary that may be idle": {
			nil, constant("2000", "3600", "1", "start", "2000"), 200, unknown,
		},
		"the primary is lost": {
			func(look int) string { return []string{"2000", "x"}[min(look, 2)-1] },
			constant("2000", "3600", "1", "start", "2000"), 200, unknown,
		},
		"the primary is lost, and commits come": {
			func(look int) string { return []string{"2000", "x"}[min(look, 2)-1] },
			constant("2000", "0", "1", "start", "2000"), 200, "",
		},
		"not replayed, and the primary not known": {nil, constant("2000", "0", "1", "start", "2001"), 503, stuck},
		"received less, on another timeline": {
			nil, func(look int) []string { return []string{"2000", "0", "1", "start", at(3000 - 400*look)} }, 200, "",
		},
		"another server behind the address": {
			nil, func(look int) []string { return []string{"2000", "0", "1", at(look), "3000"} }, 200, "",
		},
		"an odd position": {nil, constant("2000", "0", "1", "start", "x"), 503, odd},
		"no number":       {nil, constant("2000", "NaN", "1", "start", "NULL"), 503, odd},
		"no time":         {nil, constant("2000", "1e300", "1", "start", "NULL"), 503, odd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look := 1
			opts := pghealth.Options{WarnReplicaLag: -1, MaxReplicaLag: limit}
			if test.primary != nil {
				port := scripted(t, func(string) []string { return []string{test.primary(look)} })
				opts.Primary = newPool(t, scriptedURL, dialPort(port))
			}
			probe := lagProbe(t, opts, func() []string { defer func() { look++ }(); return test.row(look) })
			r := probe.ready(t)
			for range 2 {
				time.Sleep(limit + 20*time.Millisecond) // the prober's period
				r = probe.ready(t)
			}
			if c := r.check(t, "db:replicaLag"); c.Output != test.output || r.code != test.code ||
				c.ObservedValue != nil && *c.ObservedValue < 0 {
				t.Errorf("%d %s", r.code, r.body)
			}
		})
	}
}

// scripted returns the port of a server that answers each query with one row. "NULL" is NULL.
func scripted(t *testing.T, answer func(sql string) []string) uint16 {
	t.Helper()
	l, port := listen(t)
	go serve(l, func(c net.Conn) {
		go func() {
			defer c.Close()
			b := pgproto3.NewBackend(c, c)
			if _, err := b.ReceiveStartupMessage(); err != nil {
				return
			}
			b.Send(&pgproto3.AuthenticationOk{})
			b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: make([]byte, 4)})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			for b.Flush() == nil {
				message, err := b.Receive()
				if err != nil {
					return
				}
				query, ok := message.(*pgproto3.Query)
				if !ok {
					continue
				}
				var fields []pgproto3.FieldDescription
				var values [][]byte
				for _, text := range answer(query.String) {
					value := []byte(text)
					if text == "NULL" {
						value = nil
					}
					fields = append(fields, pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25})
					values = append(values, value)
				}
				b.Send(&pgproto3.RowDescription{Fields: fields})
				b.Send(&pgproto3.DataRow{Values: values})
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
				b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
		}()
	})
	return port
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

// commitOften inserts into table t until stop is called.
func commitOften(t *testing.T, url string) (stop func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if _, err := conn.Exec(ctx, "insert into t values (1)"); err != nil && ctx.Err() == nil {
				t.Errorf("insert: %v", err)
				return
			}
			time.Sleep(20 * time.Millisecond) // a pace
		}
	}()
	return func() {
		cancel()
		<-ended
		_ = conn.Close(context.Background())
	}
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
