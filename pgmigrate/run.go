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

// route decides, for a database at version current, which versions to go to in turn. An empty route means nothing to do.
type route func(current int32) ([]int32, error)

func (m *Migrator) newRun() *run {
	r := &run{m: m, result: Result{Latest: m.folder.latest()}}
	r.tracer.hooks = hooks{statement: r.statementStarted, ended: r.statementEnded, versioned: r.versioned, committed: r.stepDone}
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

	// Most starts find nothing to do. They must not queue for the lock behind an instance that works.
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
		r.tern.AppendMigration(mig.Name, r.recording(&mig.Migration, DirectionUp), r.recording(&mig.Migration, DirectionDown))
	}
	r.tern.OnStart = func(version int32, _, direction, sql string) { r.stepStarted(ctx, version, Direction(direction), sql) }
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
		r.m.settings.event(Event{
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
func (r *run) stepStarted(ctx context.Context, version int32, direction Direction, sql string) {
	retried := r.tracer.step != nil && r.tracer.step.failure != ""
	if !retried {
		r.tries = 0
	}
	mig := &r.m.folder.migrations[version-1]
	s := &step{migration: mig, direction: direction, sql: sql, transactional: mig.Transactional(direction)}
	r.tries++
	r.started = time.Now()
	r.tracer.step = s
	if !s.transactional {
		r.tracer.hook(func() error { return r.begin(ctx, s) })
	}
	if !retried {
		r.m.settings.event(Event{Kind: EventStart, Version: version, Name: mig.Name, Direction: direction})
	}
}

// begin prepares a disable-tx section: from here on an interruption must be visible.
func (r *run) begin(ctx context.Context, s *step) error {
	// A concurrent build that gave up waiting would leave an invalid index. tern's "reset all" brings the limit back.
	if _, err := r.conn.Exec(ctx, "set lock_timeout = 0"); err != nil {
		return fmt.Errorf("switch lock_timeout off: %w", err)
	}
	var err error
	if s.entry, err = r.begun(ctx, &s.migration.Migration, s.direction); err != nil {
		return err
	}
	s.idempotent = true
	return nil
}

// statementStarted is called before a statement of the step is sent.
func (r *run) statementStarted(ctx context.Context, sql string) error {
	s := r.tracer.step
	if !s.transactional {
		line := s.line(s.firstToken())
		r.m.settings.event(Event{
			Kind: EventStatement, Version: s.migration.Version, Name: s.migration.Name, Direction: s.direction, Line: line,
		})
		if err := r.note(ctx, s, sql, line); err != nil {
			return err
		}
	}
	s.stopWatch = r.watchBuild(ctx)
	return nil
}

// note brings the entry of a disable-tx section up to date before its next statement.
func (r *run) note(ctx context.Context, s *step, sql string, line int) error {
	if s.statements > 1 {
		s.idempotent = s.idempotent && s.current.idempotent
	}
	s.current, s.index, s.ended = statementClass{}, "", false
	if r.conn.PgConn().TxStatus() != 'I' {
		return nil // inside a transaction of the section's own, which would undo the note
	}
	s.current = classify(sql)
	if s.current.index != "" {
		var err error
		if s.index, err = s.current.qualified(ctx, r.conn); err != nil {
			return err
		}
	}
	if s.index != "" && s.current.builds() {
		if err := r.dropInvalid(ctx, s.index); err != nil {
			return err
		}
	}
	var index *string
	if s.index != "" && !s.current.idempotent {
		index = &s.index
	}
	_, err := r.conn.Exec(ctx, "update "+r.m.settings.historySchema+`.history
set statement = $2, line = $3, repeatable = $4, index_name = $5, drops_index = $6 where id = $1`, pgx.QueryExecModeExec, s.entry, s.statements, line,
		s.idempotent && (s.current.idempotent || s.index != ""), index, s.current.drops)
	if err != nil {
		return fmt.Errorf("record statement %d of %s in the history: %w", s.statements, s.migration.Name, err)
	}
	return nil
}

// statementEnded is called when a statement of the step has come to an end.
func (r *run) statementEnded(ctx context.Context, success bool) error {
	s := r.tracer.step
	if s.stopWatch != nil {
		s.stopWatch()
		s.stopWatch = nil
	}
	if !success || s.transactional {
		return nil
	}
	if s.index != "" && s.current.builds() {
		if err := r.checkValid(ctx, s.index); err != nil {
			return err
		}
	}
	s.ended = true
	return nil
}

// versioned is called when tern has updated the version.
func (r *run) versioned(ctx context.Context) error {
	s := r.tracer.step
	if s.transactional {
		return nil // it carries its entry
	}
	duration := time.Since(r.started)
	_, err := r.conn.Exec(ctx, "update "+r.m.settings.historySchema+".history set progress = $2, duration_ms = $3 where id = $1",
		pgx.QueryExecModeExec, s.entry, string(ProgressDone), float64(duration.Microseconds())/1000)
	if err != nil {
		return fmt.Errorf("record %s in the history: %w", s.migration.Name, err)
	}
	return nil
}

// stepDone notes the current step as completed.
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
	r.m.settings.event(Event{
		Kind: EventDone, Version: done.Version, Name: done.Name, Direction: done.Direction, Duration: done.Duration,
	})
}
