package pgtx

import (
	"context"
	"errors"
	"time"
)

// Kind is what a [Report] is about.
type Kind string

// The kinds of reports.
const (
	KindTransaction Kind = "transaction" // of an outermost or Separate Run
	KindSavepoint   Kind = "savepoint"   // of a nested Run
	KindJoined      Kind = "joined"      // a nested Run with Join
	KindBatch       Kind = "batch"       // of Atomic, in one round trip
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

// Report tells an observer how one attempt went. Times are as the client sees them. What is left of
// the attempt beside its phases is work of this package and hooks.
type Report struct {
	// Name is Options.Name.
	Name string
	Kind Kind
	// Attempt counts from 1. In a nested Run it is that of the outermost.
	Attempt int
	Outcome Outcome
	// Again says that another attempt follows, which gets a report of its own: count transactions
	// by reports without.
	Again bool
	// Err is the attempt's error, and without Again that of the whole, which may be a *RetryError
	// or, with OutcomeCommitted, a *HookError. It is nil after success. Its text may hold arguments
	// and row values.
	Err error
	// Start is when the attempt began.
	Start time.Time
	// Acquire is the wait for the connection; 0 on a connection as db, and part of Begin where db's
	// own BeginTx is used.
	Acquire time.Duration
	// Begin is the round trip of BEGIN. Where the first statement travelled with it, it is in it.
	Begin time.Duration
	// Run is the function and BeforeCommit hooks, without Acquire and Begin. In a batch it is the
	// flush with BEGIN and COMMIT.
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

func (o Options) watch(ctx context.Context, kind Kind) *watch {
	if o.Observe == nil {
		return nil
	}
	return &watch{observe: o.Observe, ctx: ctx, called: time.Now(), report: Report{Name: o.Name, Kind: kind}}
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
	outcome := OutcomeCommitted
	switch s := w.session; {
	case err == nil:
	case s != nil && s.unknown:
		outcome = OutcomeUnknown
	default:
		outcome = OutcomeRolledBack
	}
	var spent times
	if w.session != nil {
		spent = w.session.times
	}
	w.end(spent, outcome, err)
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

var errNotReturned = errors.New("the function did not return: it panicked or called runtime.Goexit")

// abandoned reports an attempt that nothing ended. It is deferred.
func (w *watch) abandoned() {
	if w == nil || w.report.Attempt == 0 {
		return
	}
	switch {
	case !w.ended.IsZero(): // a hook that waited for the end
	case w.report.Kind == KindTransaction:
		w.endSession(errNotReturned)
	case w.report.Kind == KindBatch: // a callback: COMMIT is on its way
		w.end(times{}, OutcomeUnknown, errNotReturned)
	default:
		w.endNested(times{}, errNotReturned)
	}
	w.finish(errNotReturned)
}

func (w *watch) tell(now time.Time) {
	w.report.Elapsed = now.Sub(w.called)
	w.observe(w.ctx, w.report)
}
