package pgtx

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

const (
	kindTransaction = "transaction"
	kindSavepoint   = "savepoint"
	kindJoined      = "joined"
	kindBatch       = "batch"
)

// Outcome says how an attempt ended.
type Outcome string

const (
	// OutcomeCommitted also says that nothing was sent, if Begin is 0.
	OutcomeCommitted Outcome = "committed"
	// OutcomeReleased is the success of a nested Run. The transaction around it commits it, or not.
	OutcomeReleased Outcome = "released"
	// OutcomeRolledBack also says that it did not begin.
	OutcomeRolledBack Outcome = "rolled_back"
	// OutcomeUnknown comes with a [*CommitUnknownError], and after a function that ended the
	// transaction itself ([ErrEnded]).
	OutcomeUnknown Outcome = "unknown"
)

// Report tells an observer how one attempt went. Times are as the client sees them.
type Report struct {
	// Name is Options.Name.
	Name string
	// Kind is "transaction" (an outermost or Separate Run), "savepoint" (a nested one), "joined" (a
	// nested one with Join) or "batch" (Atomic).
	Kind string
	// Attempt counts from 1. A nested Run has the attempt of the outermost.
	Attempt int
	Outcome Outcome
	// Again says that another attempt follows, which gets a report of its own. To count
	// transactions, count the reports without Again.
	Again bool
	// Err is the attempt's error. Without Again it is the error of the whole, which may be a
	// *RetryError or, with OutcomeCommitted, a *HookError. It is nil after success and after
	// ErrRollback. Its text may hold arguments and row values.
	Err error
	// Start is when the attempt began.
	Start time.Time
	// Acquire is the wait for the connection. It is 0 on a single connection.
	Acquire time.Duration
	// Begin is the round trip of BEGIN, if BEGIN goes alone. If BEGIN travels with the first
	// statement, it is the time to send both; the wait for the answer is part of Run.
	Begin time.Duration
	// Run is the function and the BeforeCommit hooks, without Acquire and Begin.
	Run time.Duration
	// Commit is COMMIT or ROLLBACK. In a nested Run it is RELEASE or ROLLBACK TO.
	Commit time.Duration
	// Wait is the pause that followed, with Again.
	Wait time.Duration
	// Elapsed is the time since Run was called, with all attempts and waits.
	Elapsed time.Duration
}

// times are what a session measures of an attempt.
type times struct {
	acquire, begin, commit time.Duration
}

// watch tells an observer about the attempts of one call. A nil watch does nothing.
type watch struct {
	observe func(context.Context, Report)
	ctx     context.Context
	called  time.Time
	ended   time.Time // when the attempt ended; zero while it is under way
	result  *result
	report  Report // observed when it is known whether another attempt follows
}

func (o Options) watch(ctx context.Context, kind string) *watch {
	if o.Observe == nil {
		return nil
	}
	return &watch{observe: o.Observe, ctx: ctx, called: time.Now(), report: Report{Name: o.Name, Kind: kind}}
}

// start begins an attempt, which fills r, and reports the one before.
func (w *watch) start(attempt int, r *result) {
	if w == nil {
		return
	}
	now := time.Now()
	if !w.ended.IsZero() {
		w.report.Again, w.report.Wait = true, now.Sub(w.ended)
		w.tell(now)
	}
	w.result, w.ended = r, time.Time{}
	w.report = Report{Name: w.report.Name, Kind: w.report.Kind, Attempt: attempt, Start: now}
}

// end ends the attempt.
func (w *watch) end(err error) {
	if w == nil {
		return
	}
	w.ended = time.Now()
	r, spent := &w.report, w.result.times
	r.Outcome, r.Err = w.result.outcome, err
	r.Acquire, r.Begin, r.Commit = spent.acquire, spent.begin, spent.commit
	r.Run = max(0, w.ended.Sub(r.Start)-spent.acquire-spent.begin-spent.commit)
}

// finish reports the last attempt of a call that returns err.
func (w *watch) finish(err error) {
	if w == nil || w.report.Attempt == 0 {
		return
	}
	w.report.Err = err
	w.tell(time.Now())
	w.report.Attempt = 0
}

// abandoned reports an attempt that a panic or Goexit ended. It is deferred.
func (w *watch) abandoned() {
	if w == nil || w.report.Attempt == 0 {
		return
	}
	if w.ended.IsZero() {
		w.end(errNotReturned)
	}
	w.finish(errNotReturned)
}

func (w *watch) tell(now time.Time) {
	w.report.Elapsed = now.Sub(w.called)
	w.observe(w.ctx, w.report)
}

// LogTo returns an observer that logs every attempt as one record: "transaction committed",
// "savepoint rolled_back" and so on. The level is Debug for success, for the function's own errors
// and for rejections that programs expect, such as a duplicate key. It is Warn for attempts that
// are repeated or given up and for failures of the database or a hook, and Error for an unknown
// outcome.
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
	case r.Again, r.Outcome == OutcomeCommitted, errors.As(r.Err, new(*RetryError)):
		return slog.LevelWarn
	}
	switch pgerr.Of(r.Err) {
	case pgerr.Constraint, pgerr.Data, pgerr.Raised, pgerr.NotFound, pgerr.Canceled:
		return slog.LevelDebug
	}
	if errors.As(r.Err, new(*PhaseError)) || errors.As(r.Err, new(*pgconn.PgError)) {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
