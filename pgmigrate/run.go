package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// run is one call of Up, To, Down, Redo, Baseline, Resolve or Seed: one connection, one goroutine.
type run struct {
	m      *Migrator
	conn   *pgx.Conn
	result Result
	client string // who we are, for the history

	version   int32             // of the database, as far as this run knows
	tracked   bool              // the version table exists
	recorded  bool              // the history exists
	lastEntry int64             // the newest one of the history when it was read
	repeated  map[string]string // the checksums of the repeatable migrations that were run, by path
	behind    bool              // a newer folder's migration is unfinished: its repeatable ones are newer too
	resume    int               // the number of the statement from which the first step continues; 0 for the first

	step *step // the current one, if any
}

// route decides, for a database at version current, which versions to go to in turn. An empty route
// means nothing to do.
type route func(current int32) ([]int32, error)

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

	// Most starts find nothing to do. They must not queue for the lock behind an instance that
	// works.
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

// isDone reports whether there is nothing to do where the route leads.
func (r *run) isDone(targets []int32) bool {
	return len(targets) == 0 &&
		(r.behind || r.version != r.m.folder.latest() || len(r.m.folder.changed(r.repeated)) == 0)
}

func (r *run) takePosition(p position) {
	r.version, r.tracked, r.recorded, r.lastEntry = p.version, p.tracked, p.recorded, p.last().id
	r.repeated = p.repeated
}

// lockDirect takes the migration lock on a connection that keeps it.
func (r *run) lockDirect(ctx context.Context) error {
	if err := r.inspect(ctx); err != nil {
		return err
	}
	return r.lock(ctx)
}

// prepare creates what is missing to write versions and history, and begins with a clean session.
func (r *run) prepare(ctx context.Context) error {
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
	return r.resetSession(ctx)
}

// migrateTo runs step after step until the database is at target.
func (r *run) migrateTo(ctx context.Context, target int32) error {
	for r.version != target {
		if ctx.Err() != nil {
			return fmt.Errorf("migrate: at version %d, between migrations: %w", r.version, context.Cause(ctx))
		}
		s := r.newStep(firstStep(r.version, target), r.resume)
		r.resume = 0
		if err := r.checkStep(s); err != nil {
			return err
		}
		if err := r.checkBackfills(ctx, s); err != nil {
			return err
		}
		r.step = s
		r.m.settings.event(s.event(EventStart))
		err := r.try(ctx, s)
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

// try runs a step, again and again while others hold locks that it needs.
func (r *run) try(ctx context.Context, s *step) error {
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

// retry calls fn until it returns another error than that somebody else's locks have undone it.
func (r *run) retry(ctx context.Context, fn func(context.Context) error) error {
	var last error
	err := retry.Do(ctx, r.backoff(&last), func(ctx context.Context) error {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if last = err; r.retryable(err) {
			return retry.RetryableError(err)
		}
		return err
	})
	if err != nil && last != nil && !errors.Is(last, err) {
		// The context ended between two tries, and retry.Do returned only that.
		return fmt.Errorf("%w, until the context ended: %w", last, err)
	}
	return err
}

// moved reads where another instance has brought the database.
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
	return nil
}

// checkStep refuses a section that would end the transaction it runs in, or chain two of its own.
func (r *run) checkStep(s *step) error {
	var problems []Problem
	for _, p := range r.m.folder.warnings {
		section := s.migration.section(s.direction)
		last := section.line + strings.Count(section.text, "\n")
		if p.Kind == ProblemTransaction && p.File == s.migration.Name &&
			(p.Line == 0 || p.Line >= section.line && p.Line <= last) {
			problems = append(problems, p)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &FolderError{Problems: problems}
}
