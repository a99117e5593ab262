package pghealth_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
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

	// Nobody writes: the time since the last transaction grows, the lag does not. Before one has
	// arrived there is no such time.
	for naive := 0.0; naive < 0.7; time.Sleep(50 * time.Millisecond) {
		if err := replica.QueryRow(t.Context(),
			"select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp())::float8, 0)",
		).Scan(&naive); err != nil {
			t.Fatal(err)
		}
	}
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	c := both.get("/ready").check(t, "db:replicaLag")
	if c.ObservedValue == nil || *c.ObservedValue > 0.2 || c.ObservedUnit != "s" || c.Figures["inRecovery"] != 1 ||
		c.Figures["receivers"] != 1 {
		t.Errorf("%+v", c)
	}

	execute(t, replica, "select pg_wal_replay_pause()")
	both.want(want{http.StatusOK, "replicaLag", "warn", "", "replay is paused on the replica"})
	execute(t, master, "insert into t values (1)")
	both.want(want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind"})
	warned.want(want{http.StatusOK, "replicaLag", "warn", "", "the replica is far behind"}) // traffic goes on
	if c := both.get("/ready").check(t, "db:replicaLag"); *c.ObservedValue < 0.6 || c.Figures["paused"] != 1 {
		t.Errorf("%v %v", *c.ObservedValue, c.Figures)
	}
	execute(t, replica, "select pg_wal_replay_resume()")
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})

	primary.Stop(t)
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "",
		"the replica may be too far behind: the primary's position is not known",
	})
	// Started again it has replayed nothing, and nobody tells it what there is.
	standby.Restart(t)
	both.want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "",
		"the replica cannot tell how far behind it is",
	})
	warned.want(want{http.StatusOK, "replicaLag", "warn", "", "the replica cannot tell how far behind it is"})
	primary.Start(t)
	execute(t, connect(t, primary.URL()), "create table u (i int)") // an idle primary may say nothing for 15 s
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
}

// A replica that receives slowly has replayed all that it received, and is behind all the same.
func TestReplicaLagOnASlowLine(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	line, master := standby.Link(), connect(t, primary.URL())
	execute(t, master, "create role ordinary login")
	execute(t, master, "create table t (i int, filler text)")

	ordinary := func(cfg *pgxpool.Config) { cfg.ConnConfig.User = "ordinary" }
	path := fault.NewProxy(t, primary.URL(), fault.Options{}) // of the probe to the primary
	const limit = 2 * time.Second
	opts := pghealth.Options{Timeout: faultTimeout, AllowReadOnly: true, MaxReplicaLag: limit}
	probes := make(map[string]*asked)
	for name, test := range map[string]struct {
		role    func(*pgxpool.Config)
		primary bool
	}{
		"allowed to see": {func(*pgxpool.Config) {}, false},
		"asks primary":   {ordinary, true},
		"neither":        {ordinary, false},
	} {
		pool := newPool(t, standby.URL(), test.role)
		o := opts
		if test.primary {
			o.Primary = newPool(t, primary.URL(), through(path), ordinary)
		}
		probe, _ := newProbe(t, pool, o)
		probes[name] = serveBoth(t, pool, probe)
	}
	const unknown = "the replica may be far behind: the primary's position is not known"
	for _, p := range probes {
		p.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	}
	// Nobody writes for longer than the limit, which is no lag. Without the primary's position it
	// may be one.
	probes["neither"].want(want{http.StatusOK, "replicaLag", "warn", "", unknown})
	for _, name := range []string{"allowed to see", "asks primary"} {
		probes[name].want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	}

	// A line that lets nothing through looks to the receiver like a primary that is idle.
	line.Freeze(fault.Both)
	execute(t, master, "insert into t values (0, '')")
	probes["asks primary"].want(want{
		http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind",
	})
	line.Heal()
	for name, p := range probes {
		execute(t, master, "insert into t values (0, '')")
		t.Log(name)
		p.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	}

	line.Rate(fault.FromServer, 500_000)
	execute(t, master,
		"insert into t select i, repeat('x', 1000) from generate_series(1, 15000) i") // 16 MB: half a minute
	for _, name := range []string{"allowed to see", "asks primary"} {
		probes[name].want(want{
			http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind",
		})
	}
	probes["neither"].want(want{http.StatusOK, "replicaLag", "warn", "", unknown})
	replica := connect(t, standby.URL())
	var received bool
	if err := replica.QueryRow(t.Context(),
		"select pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() < 1e6").Scan(&received); err != nil || !received {
		t.Errorf("the replica has not replayed what it received: %v, %v", received, err)
	}
	line.Heal()
	for _, name := range []string{"allowed to see", "asks primary"} {
		probes[name].want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	}

	// The primary does not answer. The replica's answer still comes in time.
	path.Freeze(fault.Both)
	if r := probes["asks primary"].get("/ready"); r.check(t, "db:connectivity").Status != "pass" ||
		r.check(t, "db:replicaLag").Output == "the database does not answer in time" {
		t.Error(r.body)
	}
	probes["asks primary"].want(want{http.StatusOK, "replicaLag", "warn", "", unknown})
	path.Heal()
	probes["asks primary"].want(want{http.StatusOK, "replicaLag", "pass", "", ""})

	// Replay stops. Every role sees that what was received is not replayed.
	execute(t, replica, "select pg_wal_replay_pause()")
	execute(t, master, "insert into t values (0, '')")
	for _, p := range probes {
		p.want(want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica is too far behind"})
	}
}

// At the first look nobody knows for how long the replica has been behind. The time since its last
// commit warns.
func TestReplicaLagAtTheFirstLook(t *testing.T) {
	t.Parallel()
	probe := lagProbe(t, pghealth.Options{WarnReplicaLag: 5 * time.Second, MaxReplicaLag: 10 * time.Second},
		func() []string { return []string{"1000", "21", "1", "2000", "0", "start", "60", "2000"} })
	r := probe.ready(t)
	c := r.check(t, "db:replicaLag")
	if r.code != http.StatusOK || c.Status != "warn" || c.ObservedValue == nil || *c.ObservedValue != 21 ||
		c.Output != "the replica may be far behind: its lag was not measured for long enough yet" {
		t.Errorf("%d %+v", r.code, c)
	}
}

// A receiver that is gone for a moment, because the primary or the receiver was restarted, proves
// nothing about the lag.
func TestReplicaLagWithoutReceiverForAMoment(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	receivers := "1"
	probe := lagProbe(t, pghealth.Options{WarnReplicaLag: -1, MaxReplicaLag: limit}, func() []string {
		if receivers == "0" {
			return []string{"2000", "3600", receivers, "NULL", "NULL", "start", "60", "2000"}
		}
		return []string{"2000", "3600", receivers, "2000", "0", "start", "60", "2000"}
	})
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

// After a failover the positions that the old primary said do not count: they may be lost.
func TestReplicaLagAfterAFailover(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	position := 1_000_000
	primary := scripted(t, func(string) []string { return []string{strconv.Itoa(position)} })
	replayed := 900
	probe := lagProbe(t, pghealth.Options{
		WarnReplicaLag: -1, MaxReplicaLag: limit,
		Primary: newPool(t, scriptedURL, on(primary)),
	}, func() []string {
		return []string{strconv.Itoa(replayed), "0", "1", "NULL", "NULL", "start", "60", "1000000"}
	})
	probe.ready(t)
	for position = 1000; position < 4000; position += 1000 { // always a few bytes behind
		time.Sleep(limit + 20*time.Millisecond)
		replayed = position - 100
		wantCode(t, probe.ready(t), http.StatusOK)
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
	pool := newPool(t, scriptedURL, on(port))
	probe, _ := newProbe(t, pool, opts)
	return lagging{pool: pool, probe: probe}
}

// scriptedURL names a user and a database that no answer holds by chance.
const scriptedURL = "postgres://scripted_user@127.0.0.1/scripted_database?sslmode=disable"

type lagging struct {
	pool  *pgxpool.Pool
	probe *pghealth.Probe
}

func (l lagging) ready(t *testing.T) response { t.Helper(); return get(t, l.pool, l.probe.Ready()) }

// What counts is how long the replica has been behind a position, not how long nobody asked.
func TestReplicaLagBetweenLooks(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	const stuck, odd = "the replica is too far behind", "the replica's lag could not be read"
	look := 0
	for name, test := range map[string]struct {
		row    func() []string // from the replica's third column on
		output string          // of the third look
	}{
		"a bulk load": {func() []string { // no commit for long, and always a few bytes behind
			return []string{strconv.Itoa(1000*look + 900), "3600", "1", strconv.Itoa(1000*look + 1000), "0"}
		}, ""},
		"one look behind": {func() []string { // what the primary had at the second look comes at the fourth
			return []string{strconv.Itoa(1000 * (look - 1)), "0", "1", strconv.Itoa(1000 * look), "0"}
		}, ""},
		"two looks behind": {func() []string {
			return []string{strconv.Itoa(1000*(look-1) - 1), "0", "1", strconv.Itoa(1000 * look), "0"}
		}, stuck},
		"stuck, and the primary's clock ahead": {func() []string {
			return []string{"1000", "-50", "1", "2000", "0"}
		}, stuck},
		"caught up, and the primary's clock ahead": {func() []string {
			return []string{"2000", "-50", "1", "2000", "-50"}
		}, ""},
		"an old message": {
			func() []string { return []string{"2000", "0", "1", "2000", "36"} },
			"the replica may be too far behind: nothing came from the primary for that long",
		},
		"an idle primary": {func() []string { return []string{"2000", "0", "1", "2000", "30"} }, ""},
		"an idle primary, a long timeout": {
			func() []string { return []string{"2000", "0", "1", "2000", "300", "600", "NULL"} }, "",
		},
		"an idle primary, no timeout": {
			func() []string { return []string{"2000", "0", "1", "2000", "3600", "0", "NULL"} }, "",
		},
		"a timeout that is no number": {
			func() []string { return []string{"2000", "0", "1", "2000", "0", "x", "NULL"} }, odd,
		},
		"not replayed, and the primary not known": {
			func() []string { return []string{"2000", "0", "1", "NULL", "NULL", "60", "2001"} }, stuck,
		},
		"received less, after a restart of the receiver": {
			func() []string { return []string{"2000", "0", "1", "NULL", "NULL", "60", "1000"} }, "",
		},
		"an odd position": {
			func() []string { return []string{"2000", "0", "1", "NULL", "NULL", "60", "x"} }, odd,
		},
		"no number": {func() []string { return []string{"2000", "NaN", "1", "NULL", "NULL"} }, odd},
		"no time":   {func() []string { return []string{"2000", "1e300", "1", "NULL", "NULL"} }, odd},
	} {
		look = 0
		port := scripted(t, func(sql string) []string {
			switch {
			case strings.Contains(sql, "transaction_read_only"):
				return []string{"on"}
			case strings.Contains(sql, "pg_is_wal_replay_paused"):
				look++
				row := test.row()
				if len(row) == 5 {
					row = append(row, "60", "NULL")
				}
				return append(append([]string{"1", "0"}, row[:5]...), "start", row[5], row[6])
			}
			return []string{""}
		})
		pool := newPool(t, "postgres://u@127.0.0.1/d?sslmode=disable", on(port))
		probe, _ := newProbe(t, pool, pghealth.Options{AllowReadOnly: true, WarnReplicaLag: -1, MaxReplicaLag: limit})
		for range 2 {
			probe.Ready().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			time.Sleep(limit + 20*time.Millisecond) // the prober's period
		}
		rec := httptest.NewRecorder()
		probe.Ready().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		var r response
		if err := json.Unmarshal(rec.Body.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if c := r.check(t, "db:replicaLag"); c.Output != test.output ||
			(rec.Code == http.StatusOK) != (test.output == "") ||
			c.ObservedValue != nil && *c.ObservedValue < 0 {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
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

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
