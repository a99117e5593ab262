// Package clients runs programs of other projects on pools made by pgpool.
package clients_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtx"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type publish struct {
	Page int `json:"page"`
}

func (publish) Kind() string { return "publish" }

type publisher struct {
	river.WorkerDefaults[publish]
	pages chan int
}

func (p *publisher) Work(_ context.Context, job *river.Job[publish]) error {
	p.pages <- job.Args.Page
	return nil
}

// A pgtx transaction inserts River jobs. A committed job is worked, a rolled-back job never is.
func TestRiver(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	driver := riverpgxv5.New(pool)
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
	worker, workers := &publisher{pages: make(chan int, 2)}, river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := river.NewClient(driver, &river.Config{
		Logger: quiet, Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert := func(page int, result error) error {
		return pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := client.InsertTx(ctx, tx, publish{page}, nil); err != nil {
				return err
			}
			return result
		})
	}
	refused := errors.New("the page is not ready")
	if err := insert(1, refused); !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
	if err := insert(2, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case page := <-worker.pages:
		if page != 2 {
			t.Errorf("page %d was published, and its transaction rolled back", page)
		}
	case <-time.After(30 * time.Second):
		t.Error("the job was not worked")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := client.Stop(ctx); err != nil {
		t.Error(err)
	}
	var left int
	if err := pool.QueryRow(ctx, `select count(*) from river_job where state <> 'completed'`).Scan(&left); err != nil ||
		left != 0 {
		t.Errorf("%d jobs are left, %v", left, err)
	}
}
