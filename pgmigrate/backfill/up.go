package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/page-builder/persistence/pgmigrate"
)

// Up applies all pending migrations as [pgmigrate.Migrator.Up] does, and runs each backfill that a
// migration requires before it. The migration lock is free while a backfill runs. m has to have the
// Runner's database, version table and history schema.
//
// The result covers all that was applied. Errors are those of Up and of [Runner.Run].
func (r *Runner) Up(ctx context.Context, m *pgmigrate.Migrator) (pgmigrate.Result, error) {
	return r.migrate(ctx, m.Up)
}

// To is Up as far as version, as [pgmigrate.Migrator.To].
func (r *Runner) To(ctx context.Context, m *pgmigrate.Migrator, version int32) (pgmigrate.Result, error) {
	return r.migrate(ctx, func(ctx context.Context) (pgmigrate.Result, error) { return m.To(ctx, version) })
}

func (r *Runner) migrate(
	ctx context.Context, migrate func(context.Context) (pgmigrate.Result, error),
) (pgmigrate.Result, error) {
	var all pgmigrate.Result
	required := map[string]bool{}
	for first := true; ; first = false {
		result, err := migrate(ctx)
		result.Steps = append(all.Steps, result.Steps...)
		result.Duration += all.Duration
		if !first {
			result.From = all.From
		}
		all = result
		var gate *pgmigrate.BackfillError
		if !errors.As(err, &gate) {
			return all, err
		}
		if required[gate.Backfill] {
			return all, fmt.Errorf("the backfill ran, and its end is not to be seen: the Runner has another database, "+
				"version table or history schema than the Migrator: %w", err)
		}
		required[gate.Backfill] = true
		if err := r.Run(ctx, gate.Backfill); err != nil {
			return all, fmt.Errorf("%s requires it: %w", gate.Name, err)
		}
	}
}
