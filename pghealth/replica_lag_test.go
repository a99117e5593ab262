package pghealth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pghealth"
)

// A primary and its standby: idle, paused, resumed, without its primary.
func TestReplicaLag(t *testing.T) {
	t.Parallel()
	primary := newServer(t, 0, "")
	from, err := url.Parse(primary.start(t))
	if err != nil {
		t.Fatal("the test server's URL does not parse")
	}
	primary.stop(t)
	q := from.Query()
	standby := copyServer(t, primary.Dir, 0, fmt.Sprintf("wal_retrieve_retry_interval = 100ms\nprimary_conninfo = 'host=%s port=%s user=postgres'\n",
		q.Get("host"), q.Get("port")))
	standby.append(t, "standby.signal", "")
	master := connect(t, primary.start(t))
	replicaURL := standby.start(t)
	replica := connect(t, replicaURL)

	pool := newPool(t, replicaURL)
	probe, _ := newProbe(t, pool, pghealth.Options{
		Timeout: faultTimeout, AllowReadOnly: true, WarnReplicaLag: 200 * time.Millisecond, MaxReplicaLag: 600 * time.Millisecond,
	})
	both := serveBoth(t, pool, probe)
	tolerant, _ := newProbe(t, pool, pghealth.Options{Timeout: faultTimeout, AllowReadOnly: true, WarnReplicaLag: 200 * time.Millisecond})
	warned := serveBoth(t, pool, tolerant)

	execute(t, master, "create table t (i int)")
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})

	// Nobody writes: the time since the last transaction grows, the lag does not. Before one has
	// arrived there is no such time.
	for naive := 0.0; naive < 0.7; time.Sleep(50 * time.Millisecond) {
		if err := replica.QueryRow(t.Context(), "select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp())::float8, 0)").Scan(&naive); err != nil {
			t.Fatal(err)
		}
	}
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
	c := both.get("/ready").check(t, "db:replicaLag")
	if c.ObservedValue == nil || *c.ObservedValue != 0 || c.ObservedUnit != "s" || c.Figures["inRecovery"] != 1 || c.Figures["receivers"] != 1 {
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

	primary.stop(t)
	both.want(want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica may be too far behind: the primary's position is not known"})
	// Started again it has replayed nothing, and nobody tells it what there is.
	standby.stop(t)
	standby.start(t)
	both.want(want{http.StatusServiceUnavailable, "replicaLag", "fail", "", "the replica cannot tell how far behind it is"})
	warned.want(want{http.StatusOK, "replicaLag", "warn", "", "the replica cannot tell how far behind it is"})
	primary.start(t)
	both.want(want{http.StatusOK, "replicaLag", "pass", "", ""})
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
