package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgerr"
)

// run is one call of Up, To, Down or Redo: one connection, one goroutine.
type run struct {
	m      *Migrator
	conn   *pgx.Conn
	tern   *migrate.Migrator
	tracer statementTracer
	result Result

	started time.Time // of the current step
	tries   int       // of the current step
	hookErr error     // tern's OnStart cannot return one
}

// route decides, for a database at version current, which versions to go to in turn. An empty route means nothing to do.
type route func(current int32) ([]int32, error)

func (m *Migrator) run(ctx context.Context, route route) (result Result, err error) {
	r := &run{m: m, result: Result{Latest: m.folder.latest()}}
	r.tracer.statement = r.statementStarted
	r.tracer.committed = r.stepDone
	r.tracer.versionUpdate = "update " + m.settings.versionTable + " set version=$1"
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

	// Most starts find nothing to do. They must not queue for the lock behind an instance that works.
	targets, err := r.plan(ctx, route)
	if err != nil || len(targets) == 0 {
		return r.result, err
	}
	if err := r.checkDirect(ctx); err != nil {
		return r.result, err
	}
	if err := r.lock(ctx); err != nil {
		return r.result, err
	}
	defer r.unlock(ctx)
	// Another instance may have done the work in the meantime.
	targets, err = r.plan(ctx, route)
	if err != nil || len(targets) == 0 {
		return r.result, err
	}

	r.tern, err = migrate.NewMigrator(ctx, r.conn, m.settings.versionTable)
	if err != nil {
		return r.result, fmt.Errorf("create version table %s: %w", m.settings.versionTable, err)
	}
	for i := range m.folder.migrations {
		mig := &m.folder.migrations[i]
		r.tern.AppendMigration(mig.Name, mig.Up, mig.Down)
	}
	r.tern.OnStart = func(version int32, _, direction, _ string) { r.stepStarted(ctx, version, Direction(direction)) }
	for _, target := range targets {
		if err := r.migrateTo(ctx, target); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

// plan reads the version and asks the route for the way from there.
func (r *run) plan(ctx context.Context, route route) ([]int32, error) {
	current, _, err := r.m.readVersion(ctx, r.conn)
	if err != nil {
		return nil, err
	}
	r.result.From, r.result.To = current, current
	return route(current)
}

// migrateTo lets tern work, and work again from where it got to while locks are in the way.
func (r *run) migrateTo(ctx context.Context, target int32) error {
	var last error
	err := retry.Do(ctx, r.backoff(), func(ctx context.Context) error {
		err := r.tern.MigrateTo(ctx, target)
		if err == nil {
			err = r.hookErr
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

const (
	// The first pause lets what queued behind the failed try through; the longest keeps a long wait responsive.
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
)

// backoff reports each pause, because only here its length is known.
func (r *run) backoff() retry.Backoff {
	fresh := func() retry.Backoff {
		return retry.WithJitterPercent(50, retry.WithCappedDuration(retryMost, retry.NewExponential(retryFirst)))
	}
	next := fresh()
	return retry.BackoffFunc(func() (time.Duration, bool) {
		if r.tries <= 1 {
			next = fresh() // another step than the last time
		}
		pause, stop := next.Next()
		s := r.tracer.step
		r.m.settings.logger.Warn("a lock is in the way, trying again", "migration", s.migration.Name,
			"direction", string(s.direction), "try", r.tries, "pause", pause, "reason", s.failure)
		r.m.settings.progress(Event{
			Kind: EventRetry, Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
			Duration: pause, Err: errors.New(s.failure),
		})
		return pause, stop
	})
}

// retryable reports whether the current step was rolled back because of somebody else's locks.
func (r *run) retryable(err error) bool {
	s := r.tracer.step
	if s == nil || !s.transactional || r.conn.IsClosed() {
		return false
	}
	switch pgerr.Of(err) {
	case pgerr.LockTimeout, pgerr.Deadlock:
		s.failure = causeText(err)
		return true
	default:
		return false
	}
}

// stepStarted is tern's OnStart: the connection is idle, and inside the migration's transaction if it has one.
func (r *run) stepStarted(ctx context.Context, version int32, direction Direction) {
	retried := r.tracer.step != nil && r.tracer.step.failure != ""
	if !retried {
		r.tries = 0
	}
	mig := &r.m.folder.migrations[version-1]
	s := &step{migration: mig, direction: direction, sql: mig.sql(direction), transactional: mig.Transactional(direction)}
	r.tries++
	r.started = time.Now()
	if !s.transactional {
		// A concurrent build that gave up waiting would leave an invalid index. tern's "reset all" brings the limit back.
		if _, err := r.conn.Exec(ctx, "set lock_timeout = 0"); err != nil {
			r.hookErr = fmt.Errorf("switch lock_timeout off: %w", err)
		}
	}
	r.tracer.step = s
	if !retried {
		r.m.settings.progress(Event{Kind: EventStart, Version: version, Name: mig.Name, Direction: direction})
	}
}

func (r *run) statementStarted(line int) {
	s := r.tracer.step
	r.m.settings.progress(Event{
		Kind: EventStatement, Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction, Line: line,
	})
}

// stepDone records the current step as completed.
func (r *run) stepDone() {
	s := r.tracer.step
	r.tracer.step = nil
	done := Step{
		Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction,
		Duration: time.Since(r.started), Tries: r.tries,
	}
	r.result.Steps = append(r.result.Steps, done)
	r.result.To = done.Version
	if s.direction == DirectionDown {
		r.result.To--
	}
	r.m.settings.logger.Info("migrated "+string(done.Direction), "migration", done.Name, "duration", done.Duration)
	r.m.settings.progress(Event{
		Kind: EventDone, Version: done.Version, Name: done.Name, Direction: done.Direction, Duration: done.Duration,
	})
}
