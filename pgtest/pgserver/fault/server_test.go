package fault_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

func TestServerSettings(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{
		Settings: map[string]string{"work_mem": "7MB", "application_name": "it's"},
	})
	conn := connect(t, s.URL())
	for name, want := range map[string]string{
		"work_mem": "7MB", "application_name": "it's", "fsync": "off", "synchronous_commit": "on",
		"listen_addresses": "",
	} {
		if got := scan[string](t, conn, "select current_setting('"+name+"')"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	s.Configure(t, map[string]string{"work_mem": "8MB"})
	s.Restart(t)
	s.Exec(t, "create database other")
	conn = connect(t, s.DatabaseURL("other"))
	if got := scan[string](t, conn, "show work_mem"); got != "8MB" {
		t.Errorf("work_mem is %s after Configure and Restart", got)
	}
	s.Write(t, "pg_hba.conf", "local all all reject\n")
	execute(t, conn, "select pg_reload_conf()")
	until(t, "the new pg_hba.conf", func() bool {
		_, err := tryConnect(t.Context(), s.URL())
		var refused *pgconn.PgError
		return errors.As(err, &refused) && refused.Code == "28000"
	})
}

// What was committed survives a kill and a stop; the sessions do not.
func TestServerKillAndStop(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{})
	s.Exec(t, "create table notes (id int)")
	for i, end := range []func(){func() { s.Kill(t) }, func() { s.Stop(t) }, func() { s.Kill(t) }} {
		conn := connect(t, s.URL())
		execute(t, conn, "insert into notes values (1)", "begin", "insert into notes values (2)")
		waiting := make(chan error, 1)
		asleep := connect(t, s.URL())
		go func() {
			_, err := asleep.Exec(context.Background(), "select pg_sleep(3600)")
			waiting <- err
		}()
		eventually(t, conn, "select exists (select from pg_stat_activity where wait_event = 'PgSleep')")
		end()
		err := soon(t, waiting)
		var said *pgconn.PgError
		if stopped := errors.As(err, &said); err == nil || stopped != (i == 1) {
			t.Errorf("round %d: %v", i, err)
		}
		if _, err := tryConnect(t.Context(), s.URL()); err == nil {
			t.Errorf("round %d: the server is up", i)
		}
		// Only kill -9 gives the server no time to remove this file.
		if left := exists(s.Data("postmaster.pid")); left != (i != 1) {
			t.Errorf("round %d: postmaster.pid is left: %v", i, left)
		}
		s.Start(t)
		if n := scan[int](t, connect(t, s.URL()), "select count(*) from notes"); n != i+1 {
			t.Errorf("round %d: %d rows", i, n)
		}
	}
}

func TestServerOnTCP(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{TCP: true})
	before := connect(t, s.URL())
	_, err := tryConnect(t.Context(), s.URL(), func(cfg *pgx.ConnConfig) { cfg.Password = "guessed" })
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("with another password: %v", err)
	}
	s.Kill(t)
	if _, err := tryConnect(t.Context(), s.URL()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("killed: %v", err)
	}
	s.Start(t)
	after := connect(t, s.URL())
	if one, two := before.Config().Port, after.Config().Port; one != two {
		t.Errorf("port %d, then %d", one, two)
	}
}

func TestServerWithTLS(t *testing.T) {
	t.Parallel()
	certificate := fault.NewCertificate(t, time.Now().Add(time.Hour))
	s := fault.NewServer(t, fault.ServerOptions{TCP: true})
	s.Write(t, "server.crt", string(certificate.PEM))
	s.Write(t, "server.key", string(certificate.KeyPEM))
	s.Configure(t, map[string]string{"ssl": "on"})
	s.Restart(t)
	secured := strings.Replace(s.URL(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+certificate.File, 1)
	p := fault.NewProxy(t, secured, fault.Options{})
	if !scan[bool](t, connect(t, p.URL()), "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
		t.Error("the proxy does not use TLS")
	}
	raw := fault.NewProxy(t, secured, fault.Options{Raw: true})
	if !scan[bool](t, connect(t, raw.URL()), "select ssl from pg_stat_ssl where pid = pg_backend_pid()") {
		t.Error("the client does not use TLS")
	}
}

func TestStandby(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{Settings: map[string]string{"work_mem": "7MB"}})
	primary.Exec(t, "create table notes (id int)")
	standby := primary.Standby(t, map[string]string{"maintenance_work_mem": "9MB"})
	conn := connect(t, standby.URL())
	rows := func() int { t.Helper(); return scan[int](t, conn, "select count(*) from notes") }
	for name, want := range map[string]string{"work_mem": "7MB", "maintenance_work_mem": "9MB"} {
		if got := scan[string](t, conn, "show "+name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if standby.Link() == nil || primary.Link() != nil {
		t.Error("a standby has a link, a primary has none")
	}

	primary.Exec(t, "insert into notes values (1)")
	standby.CatchUp(t)
	if rows() != 1 {
		t.Errorf("%d rows, caught up", rows())
	}

	standby.PauseReplay(t)
	if state := scan[string](t, conn, "select pg_get_wal_replay_pause_state()"); state != "paused" {
		t.Errorf("replay is %s", state)
	}
	primary.Exec(t, "insert into notes values (2)")
	end := scan[string](t, connect(t, primary.URL()), "select pg_current_wal_lsn()::text")
	eventually(t, conn, "select pg_last_wal_receive_lsn() >= '"+end+"'") // it goes on receiving
	if rows() != 1 {
		t.Errorf("%d rows, replay paused", rows())
	}
	standby.ResumeReplay(t)
	standby.CatchUp(t)
	if rows() != 2 {
		t.Errorf("%d rows, resumed", rows())
	}

	standby.Link().Freeze(fault.FromServer)
	primary.Exec(t, "insert into notes values (3)")
	caught := make(chan int, 1)
	go func() {
		standby.CatchUp(t)
		caught <- 1
	}()
	silent(t, caught)
	standby.Link().Heal()
	soon(t, caught)
	if rows() != 3 {
		t.Errorf("%d rows, link healed", rows())
	}

	standby.Link().Rate(fault.FromServer, 200_000)
	primary.Exec(t, "insert into notes select generate_series(4, 5000)") // 300 kB of log
	began := time.Now()
	standby.CatchUp(t)
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("a slow link took %s", took)
	}
	standby.Link().Heal()

	standby.Link().Refuse()
	eventually(t, conn, "select not exists (select from pg_stat_wal_receiver where status = 'streaming')")
	standby.Link().Heal()
	primary.Exec(t, "insert into notes values (5001)")
	standby.CatchUp(t)
}

func TestPromote(t *testing.T) {
	t.Parallel()
	primary := fault.NewServer(t, fault.ServerOptions{})
	standby := primary.Standby(t, nil)
	follower := standby.Standby(t, nil)
	conn := connect(t, standby.URL())
	if _, err := conn.Exec(t.Context(), "create table notes (id int)"); err == nil {
		t.Error("a standby can write")
	}
	for attrs, want := range map[string]bool{"read-write": false, "standby": true} {
		chosen := connect(t, fault.HostsURL(attrs, standby, primary, follower))
		if got := scan[bool](t, chosen, "select pg_is_in_recovery()"); got != want {
			t.Errorf("%s leads to a standby: %v", attrs, got)
		}
	}
	primary.Kill(t)
	standby.Promote(t)
	execute(t, conn, "create table notes (id int)")
	follower.CatchUp(t)
	execute(t, connect(t, follower.URL()), "select from notes")
}

// A primary that comes back as a standby which accepts nobody has started all the same.
func TestClosedStandby(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{})
	s.Stop(t)
	s.Write(t, "standby.signal", "")
	s.Configure(t, map[string]string{"hot_standby": "off"})
	s.Start(t)
	var refused *pgconn.PgError
	if _, err := tryConnect(t.Context(), s.URL()); !errors.As(err, &refused) || refused.Code != "57P03" {
		t.Errorf("error is %v, want 57P03", err)
	}
}

func TestServerFails(t *testing.T) {
	t.Parallel()
	s := fault.NewServer(t, fault.ServerOptions{})
	for name, tt := range map[string]struct {
		use   func(*recorder)
		words string
	}{
		"a setting that is none": {func(r *recorder) {
			fault.NewServer(r, fault.ServerOptions{Settings: map[string]string{"no_such_setting": "on"}})
		}, "start the server: it exited; its log ends"},
		"started twice":        {func(r *recorder) { s.Start(r) }, "it is up already"},
		"promoted for nothing": {func(r *recorder) { s.Promote(r) }, "recovery is not in progress"},
		"wrong": {
			func(r *recorder) { s.Exec(r, "select no_such_column") },
			"select no_such_column: ERROR",
		},
		"wrong, with a secret": {
			func(r *recorder) { s.Exec(r, "create role postgres password 's3cret'") },
			"a statement about a password: ERROR",
		},
		"paused for nothing": {func(r *recorder) { s.PauseReplay(r) }, "pause replay: ERROR"},
	} {
		r := &recorder{T: t}
		r.run(func() { tt.use(r) })
		t.Log(name)
		r.failed(t, tt.words)
	}
	s.Stop(t)
	r := &recorder{T: t}
	r.run(func() { s.Kill(r) })
	r.failed(t, "kill the server: the server is down")
}

func TestServerMissing(t *testing.T) {
	t.Setenv("PGTEST_BINDIR", t.TempDir())
	r := &recorder{T: t}
	r.run(func() { fault.NewServer(r, fault.ServerOptions{}) })
	if !strings.Contains(r.skipped, "no PostgreSQL server found") || len(r.failures) > 0 {
		t.Errorf("skipped: %q, failures: %q", r.skipped, r.failures)
	}
}

// initdb's result is kept for the next server, and a damaged one is forgotten after it has failed.
func TestServerTemplate(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	fault.NewServer(t, fault.ServerOptions{})
	kept, err := filepath.Glob(filepath.Join(cache, "pgserver", "*", "initdb-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	const mark = "marked.txt"
	if err := os.WriteFile(filepath.Join(kept[0], mark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := fault.NewServer(t, fault.ServerOptions{}); !exists(s.Data(mark)) {
		t.Error("the second server did not use what was kept")
	}
	if err := os.Remove(filepath.Join(kept[0], "global", "pg_control")); err != nil {
		t.Fatal(err)
	}
	r := &recorder{T: t}
	r.run(func() { fault.NewServer(r, fault.ServerOptions{}) })
	r.failed(t, "start the server")
	if s := fault.NewServer(t, fault.ServerOptions{}); exists(s.Data(mark)) {
		t.Error("the damaged one is still used")
	}
}

// Nothing is left of a server, whether it is up or killed when the test ends.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*recorder, *fault.Server){
		"up":     func(*recorder, *fault.Server) {},
		"killed": func(r *recorder, s *fault.Server) { s.Kill(r) },
	} {
		r := &recorder{T: t}
		var dir, segment string
		r.run(func() {
			s := fault.NewServer(r, fault.ServerOptions{})
			dir = s.SocketDir()
			text, err := os.ReadFile(s.Data("postmaster.pid"))
			if err != nil {
				t.Fatal(err)
			}
			segment = strings.Fields(strings.Split(string(text), "\n")[6])[1]
			last(r, s)
		})
		if left := processes(t, dir); left != "" || exists(dir) {
			t.Errorf("%s: left of %s: %s", name, dir, left)
		}
		out, err := exec.Command("ipcs", "-m").Output()
		if err == nil && strings.Contains(string(out), " "+segment+" ") {
			t.Errorf("%s: shared memory segment %s is left", name, segment)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// processes lists the processes whose command line has text.
func processes(t *testing.T, text string) string {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) {
			found.WriteString(line)
		}
	}
	return found.String()
}
