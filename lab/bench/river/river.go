// Package river works jobs of River on pgxpool and on pgpool, like River's own command `river
// bench` with a fixed number of jobs.
package river

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtx"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "river", Rounds: 10, Run: run,
	Reasons: []harness.Reason{{
		Side: `^pgpool`,
		Why: "The hooks of acquire and release, and a tracer that looks at the time and error of each query; " +
			"River's statements carry many jobs each.",
	}},
}

const (
	jobs    = 2000
	batch   = 500 // jobs inserted by one statement
	workers = 200
	conns   = 10
)

type task struct {
	Number int `json:"number"`
}

func (task) Kind() string { return "task" }

type worker struct {
	river.WorkerDefaults[task]
	left *atomic.Int64
	done chan struct{}
}

func (w *worker) Work(context.Context, *river.Job[task]) error {
	if w.left.Add(-1) == 0 {
		w.done <- struct{}{}
	}
	return nil
}

// side is a pool with a client of River.
type side struct {
	name   string
	pool   *pgxpool.Pool
	worker *worker
}

var quiet = slog.New(slog.DiscardHandler)

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	theirs, err := harness.Pool(ctx, url, conns)
	if err != nil {
		return err
	}
	defer theirs.Close()
	cfg, err := harness.PoolConfig(url)
	if err != nil {
		return err
	}
	cfg.MaxConns = conns
	ours, err := pgpool.ConnectConfig(ctx, cfg, pgpool.WithLogger(quiet))
	if err != nil {
		return err
	}
	defer ours.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(theirs), &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	sides := []side{{name: "pgxpool", pool: theirs}, {name: "pgpool", pool: ours}}
	for i := range sides {
		sides[i].worker = &worker{left: &atomic.Int64{}, done: make(chan struct{}, 1)}
	}
	inserted, worked := harness.Rows("pgxpool", "pgpool"), harness.Rows("pgxpool", "pgpool")
	err = harness.TakeTurns(ctx, 1, rounds, inserted, func(i int, counts bool) (time.Duration, error) {
		if _, err := theirs.Exec(ctx, "truncate river_job"); err != nil {
			return 0, err
		}
		insert, work, err := sides[i].round(ctx)
		if counts && err == nil {
			worked[i].Times = append(worked[i].Times, work/jobs)
		}
		return insert / jobs, err
	})
	if err != nil {
		return err
	}
	for i, row := range inserted {
		worked[i].Failed = row.Failed
	}
	r.Add(fmt.Sprintf("A job of River is inserted, %d in a statement, in a transaction for each", batch), rounds, jobs,
		inserted)
	r.Add(fmt.Sprintf("A job of River is worked, %d workers on %d connections", workers, conns), rounds, jobs, worked)
	return nil
}

// round inserts the jobs, and then works them.
func (s side) round(ctx context.Context) (insert, work time.Duration, err error) {
	registry := river.NewWorkers()
	river.AddWorker(registry, s.worker)
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		Logger: quiet, Workers: registry, FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
	})
	if err != nil {
		return 0, 0, err
	}
	s.worker.left.Store(jobs)
	params := make([]river.InsertManyParams, batch)
	for i := range params {
		params[i].Args = task{i}
	}
	add := func(ctx context.Context, tx pgx.Tx) error {
		_, err := client.InsertManyFastTx(ctx, tx, params)
		return err
	}
	began := time.Now()
	for range jobs / batch {
		if s.name == "pgpool" {
			err = pgtx.Run(ctx, s.pool, add)
		} else {
			err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return add(ctx, tx) })
		}
		if err != nil {
			return 0, 0, err
		}
	}
	insert, began = time.Since(began), time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, 0, err
	}
	select {
	case <-s.worker.done:
		work = time.Since(began)
	case <-ctx.Done():
	case <-time.After(time.Minute):
		err = fmt.Errorf("%d of %d jobs were not worked in a minute", s.worker.left.Load(), jobs)
	}
	if stopped := client.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopped
	}
	return insert, work, err
}
