package pgtx

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

// LogTo returns an observer that logs every attempt as one record: "transaction committed",
// "savepoint rolled_back" and so on. The level is Debug for success and for the function's own
// errors, Warn for attempts that are repeated or given up and for failures of the database or a
// hook, and Error for an unknown outcome.
//
// A record has the attributes name, attempt, outcome, the durations acquire, begin, run, commit and
// wait if they are not 0, and elapsed. For an error it has the category (see pgerr.Of), the
// sqlstate and the phase. It never has the text of an error, which may hold arguments and row
// values.
func LogTo(logger *slog.Logger) func(context.Context, Report) {
	return func(ctx context.Context, r Report) {
		level := r.level()
		if !logger.Enabled(ctx, level) {
			return
		}
		attrs := make([]slog.Attr, 0, 12)
		if r.Name != "" {
			attrs = append(attrs, slog.String("name", r.Name))
		}
		attrs = append(attrs, slog.Int("attempt", r.Attempt), slog.String("outcome", string(r.Outcome)))
		for _, phase := range []slog.Attr{
			slog.Duration("acquire", r.Acquire), slog.Duration("begin", r.Begin), slog.Duration("run", r.Run),
			slog.Duration("commit", r.Commit), slog.Duration("wait", r.Wait),
		} {
			if phase.Value.Duration() != 0 {
				attrs = append(attrs, phase)
			}
		}
		attrs = append(attrs, slog.Duration("elapsed", r.Elapsed))
		if r.Err != nil {
			attrs = append(attrs, slog.String("category", string(pgerr.Of(r.Err))))
			var pgError *pgconn.PgError
			if errors.As(r.Err, &pgError) {
				attrs = append(attrs, slog.String("sqlstate", pgError.Code))
			}
			var failed *PhaseError
			if errors.As(r.Err, &failed) {
				attrs = append(attrs, slog.String("phase", failed.Phase))
			}
		}
		message := r.Kind + " " + string(r.Outcome)
		if r.Again {
			message += ", repeated"
		}
		logger.LogAttrs(ctx, level, message, attrs...)
	}
}

func (r Report) level() slog.Level {
	switch {
	case r.Outcome == OutcomeUnknown:
		return slog.LevelError
	case r.Err == nil:
		return slog.LevelDebug
	case r.Again, r.Outcome == OutcomeCommitted, errors.As(r.Err, new(*RetryError)), errors.As(r.Err, new(*PhaseError)),
		errors.As(r.Err, new(*pgconn.PgError)):
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
