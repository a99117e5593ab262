package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// asCommand makes the test binary the command: see TestMain.
const asCommand = "PGMIGRATE_TEST_COMMAND"

// TestInterruptedAnywhere interrupts runs at random points: the server ends the session, the
// context ends, the command is killed, the server is killed. After each interruption nothing may be
// half recorded, and the next run continues or names a section for a person, who is this test.
// PGMIGRATE_INTERRUPTIONS sets how often; the default is for every day, 200 for a release.
func TestInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	want := 24
	if s := os.Getenv("PGMIGRATE_INTERRUPTIONS"); s != "" {
		var err error
		if want, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	x := newInterrupted(t)
	counts := map[string]int{}
	for n := 0; n < want; {
		kind := []string{"session ended", "context ended", "command killed", "server killed"}[n%4]
		err := x.interrupt(kind)
		dirty := x.check()
		if err == nil && dirty == "" {
			x.checkComplete()
			x.empty()
			continue
		}
		n++
		counts[kind]++
		if dirty != "" {
			counts["left for a person: "+dirty]++
		}
	}
	if _, err := x.migrator.Up(t.Context()); err != nil {
		t.Errorf("the last run: %v", err)
	}
	x.checkComplete()
	t.Logf("%d interruptions: %v; the longest wait for the server was %s", want, counts, x.longest)
}

type interrupted struct {
	t        *testing.T
	server   *fault.Server
	url, dir string
	conn     *pgx.Conn
	migrator *pgmigrate.Migrator
	usual    time.Duration // of a run
	longest  time.Duration // wait for the server
}

// Sections of all kinds. The transactional ones and the marked inserts leave their number in log.
const ternMarker = "---- tern: disable-tx ----\n"

var interruptedFolder = []string{
	1: "insert into log values (1);\ncreate table t1 (id int);\nselect pg_sleep(0.003);\ncreate index on t1 (id);",
	2: ternMarker + "create index concurrently i2 on log (n, (n + 2));",
	3: "insert into log values (3);\nselect pg_sleep(0.003);\ncreate table t3 (id int);",
	4: ternMarker + "insert into log values (41);\nselect pg_sleep(0.003);\ninsert into log values (42);\ninsert " +
		"into log values (43);",
	5: ternMarker + "create index concurrently if not exists i51 on log (n, (n + 51));\ncreate index concurrently " +
		"if not exists i52 on log (n, (n + 52));",
	6: "insert into log values (6);",
}

func newInterrupted(t *testing.T) *interrupted {
	x := &interrupted{t: t, server: fault.NewServer(t, fault.ServerOptions{}), dir: t.TempDir()}
	x.url = x.server.URL()
	for n, sql := range interruptedFolder {
		if n == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(x.dir, fmt.Sprintf("%d_m.sql", n)), []byte(sql), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := pgx.ParseConfig(x.url)
	if err != nil {
		t.Fatal("parse the test database's address")
	}
	x.connect()
	t.Cleanup(func() { x.conn.Close(context.WithoutCancel(t.Context())) })
	if x.migrator, err = pgmigrate.New(cfg, os.DirFS(x.dir), pgmigrate.WithLogger(nil)); err != nil {
		t.Fatal(err)
	}
	x.empty()
	result, err := x.migrator.Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.usual = result.Duration
	x.empty()
	return x
}

func (x *interrupted) connect() {
	x.t.Helper()
	var err error
	if x.conn, err = pgx.Connect(x.t.Context(), x.url); err != nil {
		x.t.Fatal(err)
	}
}

func (x *interrupted) empty() {
	x.exec("drop schema public cascade; create schema public; drop schema if exists pgmigrate cascade; create table " +
		"log (n int); insert into log select -i from generate_series(1, 3000) i")
}

func (x *interrupted) exec(sql string) {
	x.t.Helper()
	if _, err := x.conn.Exec(x.t.Context(), sql); err != nil {
		x.t.Fatalf("%s: %v", sql, err)
	}
}

const sessions = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and " +
	"backend_type = 'client backend'"

// interrupt starts a run and interrupts it somewhere. It returns the run's error, and waits until
// its sessions are gone.
func (x *interrupted) interrupt(kind string) error {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	defer cancel()
	done := make(chan error, 1)
	stop := cancel
	if kind == "command killed" {
		self, err := os.Executable()
		if err != nil {
			x.t.Fatal(err)
		}
		cmd := exec.Command(self, "up", "--dir", x.dir)
		cmd.Env = []string{asCommand + "=1", "DATABASE_URL=" + x.url, "GORACE=atexit_sleep_ms=0"}
		if err := cmd.Start(); err != nil {
			x.t.Fatal(err)
		}
		go func() { done <- cmd.Wait() }()
		// Its start takes longer than the run.
		for !x.ask("select exists (select " + sessions + ")") {
			select {
			case err := <-done:
				done <- err // it was over in between two questions
				return <-done
			default:
			}
		}
		stop = func() { cmd.Process.Kill() }
	} else {
		go func() { _, err := x.migrator.Up(ctx); done <- err }()
	}
	if kind == "session ended" {
		stop = func() { x.exec("select pg_terminate_backend(pid) " + sessions) }
	}
	if kind == "server killed" {
		stop = func() { x.server.Kill(x.t) }
	}
	// The delay is the fault, not a synchronization: somewhere in a run.
	time.Sleep(rand.N(x.usual))
	stop()
	err := <-done
	if kind == "server killed" {
		x.server.Start(x.t)
		x.connect()
	}
	x.waitForSessions()
	return err
}

// waitForSessions waits until the server has ended the sessions of a run. It pauses between two
// questions: on a busy machine they would take the time that the sessions need to end.
func (x *interrupted) waitForSessions() {
	x.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	defer func() { x.longest = max(x.longest, time.Since(begin)) }()
	for deadline := begin.Add(time.Minute); x.ask("select exists (select " + sessions + ")"); <-tick.C {
		if time.Now().After(deadline) {
			var what string
			err := x.conn.QueryRow(x.t.Context(), "select string_agg(format('%s %s %s/%s since %s: %s', pid, state, "+
				"wait_event_type, wait_event, clock_timestamp() - state_change, query), E'\\n') "+sessions).Scan(&what)
			x.t.Fatalf("the server still works on a run that was interrupted: %v\n%s", err, what)
		}
	}
}

func (x *interrupted) ask(sql string) bool {
	x.t.Helper()
	var answer bool
	if err := x.conn.QueryRow(x.t.Context(), sql).Scan(&answer); err != nil {
		x.t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func (x *interrupted) numbers(sql string) []int32 {
	x.t.Helper()
	rows, err := x.conn.Query(x.t.Context(), sql)
	if err != nil {
		x.t.Fatal(err)
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		x.t.Fatal(err)
	}
	return numbers
}

// check compares what is recorded with what is there, and resolves what is left for a person, which
// it describes.
func (x *interrupted) check() string {
	x.t.Helper()
	s, err := x.migrator.Status(x.t.Context())
	if err != nil {
		x.t.Fatalf("status after an interruption: %v", err)
	}
	if s.Running != nil {
		x.t.Fatalf("nothing runs: %+v", s.Running)
	}
	log := x.numbers("select n from log where n > 0 order by n")
	indexes := x.numbers("select substr(relname, 2)::int from pg_class join pg_index on indexrelid = pg_class.oid " +
		"where relname ~ '^i[0-9]+$' and indisvalid")
	var entries []pgmigrate.Entry
	if s.Tracked {
		if entries, err = x.migrator.History(x.t.Context()); err != nil {
			x.t.Fatal(err)
		}
	}
	fail := func(what string) {
		x.t.Helper()
		x.t.Fatalf("%s: version %d, log %v, indexes %v, history %+v", what, s.Version, log, indexes, entries)
	}
	for _, v := range []int32{1, 3, 6} {
		entered := slices.ContainsFunc(entries, func(e pgmigrate.Entry) bool { return e.Version == v })
		if applied := v <= s.Version; slices.Contains(log, v) != applied || entered != applied {
			fail(fmt.Sprintf("migration %d is half there", v))
		}
	}
	// What belongs to a section without a transaction.
	parts := map[int32][2][]int32{2: {nil, {2}}, 4: {{41, 42, 43}, nil}, 5: {nil, {51, 52}}}
	for v, p := range parts {
		there, all := 0, len(p[0])+len(p[1])
		for _, n := range p[0] {
			if slices.Contains(log, n) {
				there++
			}
		}
		for _, n := range p[1] {
			if slices.Contains(indexes, n) {
				there++
			}
		}
		noted := slices.ContainsFunc(entries, func(e pgmigrate.Entry) bool { return e.Version == v })
		switch {
		case v <= s.Version && (there != all || !noted):
			fail(fmt.Sprintf("migration %d is recorded and not complete", v))
		case v > s.Version && there > 0 && !noted:
			fail(fmt.Sprintf("migration %d was begun, and the history does not say so", v))
		case v > s.Version && there > 0 && s.Dirty == nil:
			fail(fmt.Sprintf("migration %d was begun, and is not dirty", v))
		}
	}
	if len(slices.Compact(slices.Clone(log))) != len(log) {
		fail("a statement ran twice")
	}
	if s.Dirty == nil || s.Dirty.Repeatable {
		return ""
	}
	_, err = x.migrator.Up(x.t.Context())
	var dirty *pgmigrate.DirtyError
	if !errors.As(err, &dirty) || dirty.Version != s.Dirty.Version {
		fail(fmt.Sprintf("up does not name the dirty step: %v", err))
	}
	resolution := pgmigrate.ResolveApplied
	switch v := s.Dirty.Version; {
	case v == 2:
		if !slices.Contains(indexes, 2) {
			fail("building index i2 again would be safe")
		}
	case v == 4 && rand.N(2) == 0:
		x.exec("delete from log where n between 41 and 43")
		resolution = pgmigrate.ResolveRolledBack
	case v == 4:
		x.exec("insert into log select n from generate_series(41, 43) n where n not in (select n from log)")
	default:
		fail(fmt.Sprintf("migration %d can be repeated", v))
	}
	if err := x.migrator.Resolve(x.t.Context(), s.Dirty.Version, resolution); err != nil {
		x.t.Fatal(err)
	}
	return fmt.Sprintf("%s, %s", s.Dirty.Name, resolution)
}

func (x *interrupted) checkComplete() {
	x.t.Helper()
	if log := x.numbers("select n from log where n > 0 order by n"); !slices.Equal(log, []int32{1, 3, 6, 41, 42, 43}) {
		x.t.Fatalf("complete, but the log is %v", log)
	}
	if indexes := x.numbers("select substr(relname, 2)::int from pg_class join pg_index on indexrelid = " +
		"pg_class.oid where relname ~ '^i[0-9]+$' and indisvalid order by 1"); !slices.Equal(indexes,
		[]int32{2, 51, 52}) {
		x.t.Fatalf("complete, but the valid indexes are %v", indexes)
	}
	if x.ask("select exists (select from pg_index where not indisvalid)") {
		x.t.Fatal("complete, but an index is invalid")
	}
}
