package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"github.com/sethvargo/go-retry"
)

// run is one call of Up, To, Down, Redo, Baseline, Resolve or Seed: one connection, one goroutine.
type run struct {
	m      *Migrator
	conn   *pgx.Conn
	tern   *migrate.Migrator
	tracer statementTracer
	result Result
	client string // who we are, for the history

	recorded bool // the history exists

	started time.Time // of the current step
	tries   int       // of the current step
}

// route decides, for a database at version current, which versions to go to in turn. An empty route
// means nothing to do.
type route func(current int32) ([]int32, error)

func (m *Migrator) newRun() *run {
	r := &run{m: m, result: Result{Latest: m.folder.latest()}}
	r.tracer.hooks = hooks{
		statement: r.statementStarted, ended: r.statementEnded, versioned: r.versioned, committed: r.stepDone,
	}
	r.tracer.versionUpdate = "update " + m.settings.versionTable + " set version=$1"
	return r
}

func (m *Migrator) run(ctx context.Context, route route) (result Result, err error) {
	r := m.newRun()
	begin := time.Now()
	defer func() {
		r.result.Duration = time.Since(begin)
		result = r.result
	}()

	r.conn, err = m.connect(ctx, &r.tracer)
	if err != nil {
		return r.result, err
	}
	defer disconnect(ctx, r.conn)

	// Most starts find nothing to do. They must not queue for the lock behind an instance that
	// works.
	if idle, err := r.idle(ctx, route); err != nil || idle {
		return r.result, err
	}
	if err := r.lockDirect(ctx); err != nil {
		return r.result, err
	}
	defer r.unlock(ctx)
	// Another instance may have done the work in the meantime.
	targets, err := r.plan(ctx, route)
	if err != nil || len(targets) == 0 {
		return r.result, err
	}
	if err := r.prepare(ctx); err != nil {
		return r.result, err
	}
	for i := range m.folder.migrations {
		mig := &m.folder.migrations[i]
		r.tern.AppendMigration(mig.Name, r.recording(&mig.Migration, DirectionUp),
			r.recording(&mig.Migration, DirectionDown))
	}
	r.tern.OnStart = func(version int32, _, direction, sql string) {
		r.stepStarted(ctx, version, Direction(direction), sql)
	}
	for _, target := range targets {
		if err := r.migrateTo(ctx, target); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

// lockDirect takes the migration lock on a connection that keeps it.
func (r *run) lockDirect(ctx context.Context) error {
	if err := r.checkDirect(ctx); err != nil {
		return err
	}
	return r.lock(ctx)
}

// prepare creates what is missing to write versions and history.
func (r *run) prepare(ctx context.Context) (err error) {
	r.tern, err = migrate.NewMigrator(ctx, r.conn, r.m.settings.versionTable)
	if err != nil {
		return fmt.Errorf("create version table %s: %w", r.m.settings.versionTable, err)
	}
	r.client = clientName()
	if r.recorded {
		return nil
	}
	return r.createHistory(ctx)
}

// migrateTo lets tern work, and work again from where it got to while locks are in the way.
func (r *run) migrateTo(ctx context.Context, target int32) error {
	var last error
	err := retry.Do(ctx, r.backoff(), func(ctx context.Context) error {
		err := r.tern.MigrateTo(ctx, target)
		// A hook's error comes first: tern's is what followed from it.
		if hookErr := r.tracer.takeErr(); hookErr != nil {
			err = hookErr
		}
		if err == nil {
			return nil
		}
		if last = err; r.retryable(err) {
			return retry.RetryableError(err)
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case last == nil:
		return fmt.Errorf("migrate: %w", err)
	case r.tracer.step == nil:
		return fmt.Errorf("migrate: at version %d, between migrations: %w", r.result.To, last)
	case !errors.Is(last, err):
		// The context ended between two tries, and retry.Do returned only that.
		last = fmt.Errorf("%w, until the context ended: %w", last, err)
	}
	return r.failure(ctx, last)
}
