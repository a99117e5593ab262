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

// asWorker makes the test binary a worker on the database that it names: see TestMain.
const asWorker = "PGMIGRATE_TEST_WORKER"

// The statement copies one column to another, whose triggers keep both in step for other writers,
// and counts itself: it may not run twice for a row. A row remembers the batch that met it.
const (
	killedTable = `
create table rows (id bigint primary key, old int not null, new int, n int not null default 0);
create table met (id bigint not null, transaction xid8 not null default pg_current_xact_id());
insert into rows select 10 * i, i from generate_series(1, 20000) i;
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

func killedOptions() backfill.Options {
	return backfill.Options{Target: 4 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
}

// notConnected is the exit status of a worker that finds no server when it starts.
const notConnected = 3

// runWorker is a worker in a process of its own.
func runWorker(url string) int {
	cfg, err := pgserver.ParseConfig(url)
	if err != nil {
		return 2
	}
	r, err := backfill.New(cfg, files("killed", killedFile), killedOptions())
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

// TestKilledAnywhere kills the worker, its connection or the server at random points, under a load
// that inserts, updates and deletes. At the end both columns agree in every row, and each batch has
// run once. PGMIGRATE_BACKFILL_KILLS sets how often; the default is for every day, 200 for a
// release.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	kills := 20
	if s := os.Getenv("PGMIGRATE_BACKFILL_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	server := fault.NewServer(t, fault.ServerOptions{})
	counts := map[string]int{}
	for n := 0; n < kills; {
		n += killOneRun(t, server, kills-n, counts)
	}
	t.Logf("%d kills: %v", kills, counts)
}

// killOneRun runs one backfill from beginning to end and kills at most most times on the way.
func killOneRun(t *testing.T, server *fault.Server, most int, counts map[string]int) (killed int) {
	server.Exec(t, "drop database if exists killed with (force)", "create database killed")
	url := server.DatabaseURL("killed")
	x := on(t, url, killedTable)
	stop, changes := startLoad(t, x.config)
	defer stop()
	done := startWorker(t, url)
	for over := false; !over; {
		kind := []string{"worker", "connection", "server"}[rand.N(3)]
		// The delay is the fault, not a synchronization: somewhere in a run.
		select {
		case err := <-done.exited:
			var exit *exec.ExitError
			switch {
			case err == nil:
				over = true
			case errors.As(err, &exit) && exit.ExitCode() == notConnected:
				done = startWorker(t, url)
			default:
				t.Fatalf("the worker ended by itself: %v", err)
			}
			continue
		case <-time.After(rand.N(300 * time.Millisecond)):
		}
		if killed >= most {
			continue
		}
		switch killed++; kind {
		case "worker":
			done.process.Kill()
			<-done.exited
			done = startWorker(t, url)
		case "connection":
			server.Exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgmigrate'")
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
	if batches := ask[int](x, "select (select count(distinct transaction) from met) - 1 - (select batches from "+
		"pgmigrate.backfill)"); batches != 0 {
		t.Errorf("the progress is off by %d batches", batches)
	}
	counts["changes of the load"] += int(changes.Load())
	return killed
}

type workerProcess struct {
	process *os.Process
	exited  chan error
}

func startWorker(t *testing.T, url string) workerProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asWorker+"="+url, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	w := workerProcess{cmd.Process, make(chan error, 1)}
	go func() { w.exited <- cmd.Wait() }()
	return w
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
