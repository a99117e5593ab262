package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate/internal/load"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// run is one call of Up, To, Down, Redo, Baseline, Resolve or Seed: one connection, one goroutine.
type run struct {
	m      *Migrator
	conn   *pgx.Conn
	result Result
	client string // of the history's entries

	position        // of the database, as far as this run knows
	lastEntry int64 // the newest entry of the history
	behind    bool  // a newer folder's migration is unfinished: its repeatable ones are newer too
	resume    int   // the number of the statement from which the first step continues; 0 for the first

	step *step // the current one, if any
}

func (m *Migrator) newRun() *run { return &run{m: m, result: Result{Latest: m.folder.latest()}} }

func (m *Migrator) run(ctx context.Context, route route) (result Result, err error) {
	r := m.newRun()
	begin := time.Now()
	defer func() {
		r.result.Duration = time.Since(begin)
		result = r.result
	}()

	r.conn, err = m.connect(ctx)
	if err != nil {
		return r.result, err
	}
	defer session.Close(ctx, r.conn)

	// Most starts find nothing to do. They must not queue for the lock.
	if idle, err := r.idle(ctx, route); err != nil || idle {
		return r.result, err
	}
	if err := r.lockDirect(ctx); err != nil {
		return r.result, err
	}
	defer session.Unlock(ctx, r.conn)
	// Another instance may have done the work in the meantime.
	targets, err := r.plan(ctx, route)
	if err != nil || r.isDone(targets) {
		return r.result, err
	}
	if err := r.prepare(ctx); err != nil {
		return r.result, err
	}
	if len(targets) > 0 && targets[0] < r.version {
		if err := r.forgetRepeated(ctx); err != nil {
			return r.result, fmt.Errorf("migrate down: %w", err)
		}
	}
	for _, target := range targets {
		if err := r.migrateTo(ctx, target); err != nil {
			return r.result, err
		}
	}
	return r.result, r.repeat(ctx)
}

// withLock connects, takes the migration lock and calls fn.
func (m *Migrator) withLock(ctx context.Context, fn func(*run) error) error {
	r := m.newRun()
	var err error
	if r.conn, err = m.connect(ctx); err != nil {
		return err
	}
	defer session.Close(ctx, r.conn)
	if err := r.lockDirect(ctx); err != nil {
		return err
	}
	defer session.Unlock(ctx, r.conn)
	return fn(r)
}

// lockDirect takes the migration lock on a connection that keeps it.
func (r *run) lockDirect(ctx context.Context) error {
	if err := r.inspect(ctx); err != nil {
		return err
	}
	return r.lock(ctx)
}

func (r *run) takePosition(p position) { r.position, r.lastEntry = p, p.last().id }

// prepare creates the tables that are missing and starts with a clean session.
func (r *run) prepare(ctx context.Context) error {
	if err := r.resetSession(ctx); err != nil {
		return err
	}
	if !r.tracked {
		// tern creates its own table.
		if _, err := migrate.NewMigrator(ctx, r.conn, r.m.settings.versionTable); err != nil {
			return fmt.Errorf("create version table %s: %w", r.m.settings.versionTable, err)
		}
	}
	r.client = session.ClientName()
	if !r.recorded {
		if err := r.createHistory(ctx); err != nil {
			return err
		}
	}
	if r.tracked && r.recorded {
		return nil
	}
	// The wait for the lock was long enough for another role to create one of them first.
	return r.inspect(ctx)
}

// migrateTo runs step after step until the database is at target.
func (r *run) migrateTo(ctx context.Context, target int32) error {
	for r.version != target {
		if ctx.Err() != nil {
			return fmt.Errorf("migrate: at version %d, between migrations: %w", r.version, context.Cause(ctx))
		}
		s := r.newStep(firstStep(r.version, target), r.resume)
		r.resume = 0
		if err := s.check(); err != nil {
			return err
		}
		if err := r.checkBackfills(ctx, s); err != nil {
			return err
		}
		r.step = s
		r.m.settings.event(s.event(EventStart))
		err := r.runStep(ctx, s)
		switch {
		case errors.Is(err, errMoved):
			r.step = nil
			if err := r.moved(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return r.failure(ctx, err)
		}
		r.done(s)
		if s.clean {
			continue
		}
		if err := r.resetSession(ctx); err != nil {
			return fmt.Errorf("migrate: at version %d, between migrations: %w", r.version, err)
		}
	}
	return nil
}

func (r *run) runStep(ctx context.Context, s *step) error {
	if !s.transactional {
		s.tries = 1
		return r.runStatements(ctx, s)
	}
	return r.retry(ctx, func(ctx context.Context) error {
		s.tries++
		s.started = time.Now()
		return r.runInTransaction(ctx, s)
	})
}

// moved reads the version to which another instance has brought the database.
func (r *run) moved(ctx context.Context) error {
	p, err := r.m.readPosition(ctx, r.conn)
	if err != nil {
		return err
	}
	if latest := r.m.folder.latest(); p.version > latest {
		return &VersionError{Target: latest, Database: p.version, Latest: latest, Ahead: true}
	}
	if k, ok := p.unfinished(); ok {
		return r.dirty(ctx, k)
	}
	r.takePosition(p)
	r.result.To = p.version
	return nil
}

// check refuses a section that would end the transaction it runs in, or chain two of its own.
func (s *step) check() error {
	var problems []Problem
	lines := s.migration.lines(s.direction)
	for _, statement := range s.statements {
		if detail, hint := load.TransactionProblem(statement, s.transactional); detail != "" {
			problems = append(problems, Problem{
				File: s.migration.Name, Line: lines.At(statement.Start), Detail: detail, Hint: hint,
			})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &FolderError{problems}
}
