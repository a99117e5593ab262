package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// asWorker makes the test binary run a backfill on the database that it names, with workerCount
// workers: see TestMain.
const (
	asWorker    = "PGMIGRATE_TEST_WORKER"
	workerCount = "PGMIGRATE_TEST_WORKERS"
)

// The statement copies one column to another, whose triggers keep both in step for other writers,
// and counts itself: it may not run twice for a row. A row remembers the batch that met it.
const (
	killedTable = `
create table rows (id bigint primary key, old int not null, new int, n int not null default 0);
create table met (id bigint not null, transaction xid8 not null default pg_current_xact_id());
insert into rows select 10 * i, i from generate_series(1, 20000) i;
analyze rows;
create function in_step() returns trigger language plpgsql as $$ begin new.new := new.old; return new; end $$;
create trigger in_step before insert or update of old on rows for each row execute function in_step();`
	killedFile = `-- pgmigrate:backfill table=public.rows key=id
with done as (update rows set new = old, n = n + 1 where id between $1 and $2 returning id)
insert into met select id from done;

-- pgmigrate:verify
select count(*) from rows where new is distinct from old;

-- pgmigrate:finish
insert into met values (-1);`
)

// notConnected is the exit status of a worker that finds no server when it starts.
const notConnected = 3

// runWorker is a worker in a process of its own.
func runWorker(url string) int {
	cfg, err := pgserver.ParseConfig(url)
	if err != nil {
		return 2
	}
	workers, err := strconv.Atoi(os.Getenv(workerCount))
	if err != nil {
		return 2
	}
	r, err := backfill.New(cfg, files("killed", killedFile), backfill.Options{
		Workers: workers, Target: 4 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 2
	}
	err = r.Run(context.Background(), "killed")
	switch {
	case err == nil:
		return 0
	case pgerr.Startup(err):
		return notConnected
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKilledAnywhere kills a worker's process, its connection or the server at random points, under
// a load that inserts, updates and deletes. At the end both columns agree in every row, and each
// batch has run once. PGMIGRATE_BACKFILL_KILLS sets how often; the default is for every day, 200
// for a release.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	kills := 10
	if s := os.Getenv("PGMIGRATE_BACKFILL_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ processes, workers int }{"one worker": {1, 1}, "several": {2, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := fault.NewServer(t, fault.ServerOptions{})
			counts := map[string]int{}
			for n := 0; n < kills; {
				n += killOneRun(t, server, c.processes, c.workers, kills-n, counts)
			}
			t.Logf("%d kills: %v", kills, counts)
		})
	}
}

// killOneRun runs one backfill from beginning to end and kills at most most times on the way.
func killOneRun(
	t *testing.T, server *fault.Server, processes, workers, most int, counts map[string]int,
) (killed int) {
	server.Exec(t, "drop database if exists killed with (force)", "create database killed")
	url := server.DatabaseURL("killed")
	x := on(t, url, killedTable)
	stop, changes := startLoad(t, x.config)
	defer stop()
	exited := make(chan workerExit)
	running := make([]*os.Process, processes) // nil: it has done its work
	for i := range running {
		running[i] = startWorker(t, url, workers, i, exited)
	}
	for left := processes; left > 0; {
		// The delay is the fault, not a synchronization: somewhere in a run.
		select {
		case e := <-exited:
			var exit *exec.ExitError
			switch {
			case e.process != running[e.number]: // killed below
			case e.err == nil:
				running[e.number] = nil
				left--
			case errors.As(e.err, &exit) && exit.ExitCode() == notConnected:
				running[e.number] = startWorker(t, url, workers, e.number, exited)
			default:
				t.Fatalf("the worker ended by itself: %v", e.err)
			}
			continue
		case <-time.After(rand.N(300 * time.Millisecond)):
		}
		number := rand.N(processes)
		if killed >= most || running[number] == nil {
			continue
		}
		kind := []string{"worker", "connection", "server"}[rand.N(3)]
		switch killed++; kind {
		case "worker":
			running[number].Kill()
			running[number] = startWorker(t, url, workers, number, exited)
		case "connection":
			server.Exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgmigrate' "+
				"order by random() limit 1")
		case "server":
			server.Kill(t)
			server.Start(t)
		}
		counts[kind]++
	}
	stop()
	conn, err := pgx.ConnectConfig(t.Context(), x.config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	x.conn = conn
	if wrong := ask[int](x, "select count(*) from rows where new is distinct from old"); wrong != 0 {
		t.Fatalf("the columns differ in %d rows", wrong)
	}
	if twice := ask[int](x, "select count(*) from (select id from met group by id having count(*) > 1) t"); twice != 0 {
		t.Fatalf("%d rows were met twice", twice)
	}
	// The load neither deletes the rows that were there from the beginning nor touches n.
	if wrong := ask[int](x, "select count(*) from rows where id % 10 = 0 and n <> 1"); wrong != 0 {
		t.Fatalf("%d rows were not met once", wrong)
	}
	if batches := ask[int](x, "select (select count(distinct transaction) from met) - 1 - (select sum(batches) from "+
		"pgmigrate.backfill_range)"); batches != 0 {
		t.Errorf("the progress is off by %d batches", batches)
	}
	counts["changes of the load"] += int(changes.Load())
	return killed
}

type workerExit struct {
	process *os.Process
	number  int
	err     error
}

// startWorker runs the test binary as a worker. Its end is sent to exited.
func startWorker(t *testing.T, url string, workers, number int, exited chan<- workerExit) *os.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asWorker+"="+url, workerCount+"="+strconv.Itoa(workers), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	go func() {
		err := cmd.Wait()
		select {
		case exited <- workerExit{cmd.Process, number, err}:
		case <-t.Context().Done():
		}
	}()
	return cmd.Process
}

// startLoad changes rows until stop is called, also over restarts of the server.
func startLoad(t *testing.T, cfg *pgx.ConnConfig) (stop func(), changes *atomic.Int64) {
	ctx, cancel := context.WithCancel(t.Context())
	changes = &atomic.Int64{}
	var together sync.WaitGroup
	for range 2 {
		together.Go(func() {
			for ctx.Err() == nil {
				conn, err := pgx.ConnectConfig(ctx, cfg)
				if err != nil {
					continue
				}
				for err == nil {
					id := rand.N(20000) * 10
					_, err = conn.Exec(ctx, []string{
						"insert into rows (id, old) values ($1 + 1 + floor(random() * 9)::int, 7) on conflict do nothing",
						"update rows set old = old + 1 where id = $1",
						"update rows set old = old + 1 where id > $1 and id < $1 + 10",
						"delete from rows where id > $1 and id < $1 + 10",
					}[rand.N(4)], pgx.QueryExecModeExec, id)
					if err == nil {
						changes.Add(1)
					}
				}
				conn.Close(context.WithoutCancel(ctx))
				if errors.Is(err, context.Canceled) {
					return
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); together.Wait() }), changes
}
