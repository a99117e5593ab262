package pgtx

import (
	"context"
	"time"
)

type kind string

const (
	kindTransaction kind = "transaction"
	kindSavepoint   kind = "savepoint"
	kindJoined      kind = "joined"
	kindBatch       kind = "batch"
)

// Outcome is what became of an attempt.
type Outcome string

const (
	// OutcomeCommitted also says that nothing was sent, if Begin is 0.
	OutcomeCommitted Outcome = "committed"
	// OutcomeReleased is the success of a nested Run: the transaction around it will commit it, or
	// not.
	OutcomeReleased Outcome = "released"
	// OutcomeRolledBack also says that it did not begin.
	OutcomeRolledBack Outcome = "rolled_back"
	// OutcomeUnknown is that of a [*CommitUnknownError], and of a function that ended the
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
	// Attempt counts from 1. In a nested Run it is that of the outermost.
	Attempt int
	Outcome Outcome
	// Again says that another attempt follows, which gets a report of its own: count transactions
	// by reports without.
	Again bool
	// Err is the attempt's error, and without Again that of the whole, which may be a *RetryError
	// or, with OutcomeCommitted, a *HookError. It is nil after success and after ErrRollback. Its
	// text may hold arguments and row values.
	Err error
	// Start is when the attempt began.
	Start time.Time
	// Acquire is the wait for the connection; 0 on a connection as db, and part of Begin where db's
	// own BeginTx is used.
	Acquire time.Duration
	// Begin is the round trip of BEGIN that goes alone. Where BEGIN travels with the first
	// statement, it is the time to send both; the wait for the answer is part of Run.
	Begin time.Duration
	// Run is the function and BeforeCommit hooks, without Acquire and Begin. In a batch it is the
	// wait for the answers, that to COMMIT included.
	Run time.Duration
	// Commit is COMMIT or ROLLBACK; in a nested Run, RELEASE or ROLLBACK TO.
	Commit time.Duration
	// Wait is the pause that followed, with Again.
	Wait time.Duration
	// Elapsed is the time from the call of Run to now, all attempts and waits included.
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
	ended   time.Time // of the attempt, zero while it is under way
	session *session  // of the attempt, nil while there is none
	report  Report
}

func (o Options) watch(ctx context.Context, kind kind) *watch {
	if o.Observe == nil {
		return nil
	}
	return &watch{observe: o.Observe, ctx: ctx, called: time.Now(), report: Report{Name: o.Name, Kind: string(kind)}}
}

// start begins an attempt, and reports the one before.
func (w *watch) start(attempt int) {
	if w == nil {
		return
	}
	now := time.Now()
	if !w.ended.IsZero() {
		w.report.Again, w.report.Wait = true, now.Sub(w.ended)
		w.tell(now)
	}
	w.session, w.ended = nil, time.Time{}
	w.report = Report{Name: w.report.Name, Kind: w.report.Kind, Attempt: attempt, Start: now}
}

// in says in which session the attempt takes place.
func (w *watch) in(s *session) {
	if w != nil {
		w.session = s
	}
}

// end ends the attempt. spent are its times.
func (w *watch) end(spent times, outcome Outcome, err error) {
	if w == nil {
		return
	}
	w.ended = time.Now()
	r := &w.report
	r.Outcome, r.Err = outcome, err
	r.Acquire, r.Begin, r.Commit = spent.acquire, spent.begin, spent.commit
	r.Run = max(0, w.ended.Sub(r.Start)-spent.acquire-spent.begin-spent.commit)
}

// endNested is end for a savepoint or a joined function.
func (w *watch) endNested(spent times, err error) {
	outcome := OutcomeReleased
	if err != nil {
		outcome = OutcomeRolledBack
	}
	w.end(spent, outcome, err)
}

// endSession is end for an attempt with a session of its own.
func (w *watch) endSession(err error) {
	if w == nil {
		return
	}
	w.end(w.session.times, w.session.outcome, err)
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

// abandoned reports an attempt that did not end in the usual way. It is deferred.
func (w *watch) abandoned() {
	if w == nil || w.report.Attempt == 0 {
		return
	}
	switch {
	case !w.ended.IsZero(): // a hook that waited for the end
	case kind(w.report.Kind) == kindBatch: // a callback: COMMIT is on its way
		w.end(w.session.times, OutcomeUnknown, errNotReturned)
	case w.session != nil:
		w.endSession(errNotReturned)
	default:
		w.endNested(times{}, errNotReturned)
	}
	w.finish(errNotReturned)
}

func (w *watch) tell(now time.Time) {
	w.report.Elapsed = now.Sub(w.called)
	w.observe(w.ctx, w.report)
}
