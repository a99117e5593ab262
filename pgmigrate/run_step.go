package pgmigrate

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// stepStarted is tern's OnStart: the connection is idle, and inside the migration's transaction if
// it has one.
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

// statementStarted is called before a statement of the step is sent.
func (r *run) statementStarted(ctx context.Context, sql string) error {
	s := r.tracer.step
	if !s.transactional {
		line := s.line(s.firstToken())
		r.m.settings.event(Event{
			Kind: EventStatement, Version: s.migration.Version, Name: s.migration.Name,
			Direction: s.direction, Line: line,
		})
		if err := r.note(ctx, s, sql, line); err != nil {
			return err
		}
	}
	s.stopWatch = r.watchBuild(ctx)
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
	_, err := r.conn.Exec(ctx,
		"update "+r.m.settings.historySchema+".history set progress = $2, duration_ms = $3 where id = $1",
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
