package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// commit ends the transaction of a function that returned nil. began is when the function was
// called. From COMMIT on, a lost connection means an unknown outcome, so commit first checks what
// it can without the server. It sends ROLLBACK instead of COMMIT where the server could only roll
// back.
func (s *session) commit(db DB, began time.Time) (Outcome, error) {
	err := s.whyNotCommit()
	if err == nil {
		err = s.storeResult()
	}
	if err != nil {
		s.rollback()
		return OutcomeRolledBack, phaseRun.in(began, err)
	}
	if s.state == stateIdle { // there was no statement, and so no BEGIN
		s.giveBack()
		return OutcomeCommitted, nil
	}
	start := time.Now()
	outcome, err := s.sendCommit()
	if s.release(); outcome == OutcomeUnknown {
		outcome, err = s.verify(db, err)
	}
	s.times.commit = time.Since(start)
	return outcome, phaseCommit.in(start, err)
}

// whyNotCommit returns the error of a transaction that cannot commit, or nil.
func (s *session) whyNotCommit() error {
	switch {
	case s.state == stateEnded:
		return fmt.Errorf("commit: %w", ErrEnded)
	case errors.Is(s.cause, ErrTxInUse):
		return fmt.Errorf("commit: rolled back: %w", s.cause)
	case s.ctx.Err() != nil:
		return fmt.Errorf("commit: rolled back: %w", context.Cause(s.ctx))
	case s.doom != nil:
		return fmt.Errorf("commit: rolled back, "+
			"because a nested transaction failed and cannot be undone alone: %w", s.doom)
	case s.state == stateRefused:
		return s.cause
	case s.state == stateLost:
		return fmt.Errorf("commit: the connection was lost before COMMIT was sent: %w", s.loss())
	case s.state == stateFailed:
		return s.failure()
	}
	return nil
}

// sendCommit sends COMMIT and judges the answer.
func (s *session) sendCommit() (Outcome, error) {
	query := s.opts.TxOptions.CommitQuery
	if query == "" {
		query = "commit"
	}
	wire, conn := &s.gate.wire, s.conn
	if s.ctx.Done() != nil {
		// Once the connection is given back, there is nothing to cut.
		stop := context.AfterFunc(s.ctx, func() { time.AfterFunc(cleanupLimit, wire.cut) })
		defer stop()
	}
	result, err := s.sendSimple(context.WithoutCancel(s.ctx), query, nil)
	wasCut := wire.wasCut()
	if wasCut && err != nil {
		err = fmt.Errorf("no answer within %v after the end of ctx (%w): %w", cleanupLimit, context.Cause(s.ctx), err)
	}
	if wasCut || !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		kill(conn)
	}
	if err == nil && result.answers.rolledBack && !result.answers.committed {
		return OutcomeRolledBack, s.failure()
	}
	switch judgeCommit(err, result.unwritten) {
	case commitDone:
		return OutcomeCommitted, nil
	case commitRefused:
		s.fail(stateFailed, err)
		return OutcomeRolledBack, fmt.Errorf("commit: %w", err)
	case commitUnsent:
		s.fail(stateLost, err)
		return OutcomeRolledBack, fmt.Errorf("commit: the session was over before COMMIT was executed: %w", err)
	}
	if s.opts.TxOptions.AccessMode == pgx.ReadOnly && !s.mayWrite {
		s.loseCommit(err)
		return OutcomeRolledBack, fmt.Errorf("commit: no answer to the COMMIT of a read-only transaction: %w", err)
	}
	return OutcomeUnknown, err
}

type commitJudgment int

const (
	commitDone    commitJudgment = iota
	commitRefused                // the server rolled back
	commitUnsent                 // COMMIT was not sent, or came too late
	commitUnknown
)

// judgeCommit says what an error in place of COMMIT's answer means.
//
// An ordinary ERROR is a rollback. A FATAL or PANIC may come after the commit record was written.
// The connection exceptions (08, which PgBouncer uses too), 40003 (statement completion unknown)
// and the shutdowns (57P01 to 57P03) tell nothing. The server ends an idle session with 25P03,
// 25P04 or 57P05, but never one that has begun to commit.
//
// pgconn.SafeToRetry alone does not answer this: it is true for a connection that died after COMMIT
// was sent.
func judgeCommit(err error, unwritten bool) commitJudgment {
	var pgError *pgconn.PgError
	switch {
	case err == nil:
		return commitDone
	case unwritten:
		return commitUnsent
	case !errors.As(err, &pgError):
		return commitUnknown
	}
	switch pgError.Code {
	case "25P03", "25P04", "57P05":
		return commitUnsent
	case "40003":
		return commitUnknown
	}
	severity := pgError.SeverityUnlocalized
	if severity == "" {
		severity = pgError.Severity
	}
	if severity != "ERROR" || strings.HasPrefix(pgError.Code, "08") || strings.HasPrefix(pgError.Code, "57P") {
		return commitUnknown
	}
	return commitRefused
}

var (
	// ErrVerifyUnsupported is returned by a transaction with VerifyCommit, and by
	// [CommitUnknownError.Resolve], if the server has no transaction ids as in PostgreSQL 13 and
	// later, or refuses them to the role.
	ErrVerifyUnsupported = errors.New("the server has no pg_current_xact_id, pg_xact_status or " +
		"pg_stat_get_bgwriter_stat_reset_time for this role: unset VerifyCommit, or use an IdempotencyKey")

	// ErrServerChanged is returned by [CommitUnknownError.Resolve] if the transaction was in
	// another run of the server: it was restarted, it crashed, another server was promoted, or its
	// statistics were reset. The transaction ids of this run may mean other transactions.
	ErrServerChanged = errors.New("another server, or the same after a restart or crash, " +
		"whose transaction ids may mean others")

	// ErrUnresolved is returned by [CommitUnknownError.Resolve] if the outcome is still unknown and
	// no other error says why.
	ErrUnresolved = errors.New("outcome still unknown")
)

// serverSQL identifies a run of the server. Another server, a promoted standby and a restarted
// server have another start time. The crash of a single backend leaves the start time as it is, and
// the server may give the same ids again; but it resets the statistics. The text of a timestamp
// would depend on the session's settings. The function is the one behind pg_stat_bgwriter; the view
// takes twice as long to plan.
//
// The timeline is not read. It changes only with a promotion, which the start time shows.
const serverSQL = `extract(epoch from pg_catalog.pg_postmaster_start_time())::text || ' ' ||
	coalesce(extract(epoch from pg_catalog.pg_stat_get_bgwriter_stat_reset_time())::text, '')`

// probeSQL reads the transaction's id, which makes the server assign one.
const probeSQL = `select pg_catalog.pg_current_xact_id()::text as pgtx_xid, ` + serverSQL

// verification has what a COMMIT can be verified by.
type verification struct {
	xid    string
	server string
	pid    uint32 // the backend's process
}

// prelude returns the statements of the options, and the probe.
func (s *session) prelude() []string {
	statements := s.opts.prelude(s.ctx)
	if s.opts.verifies() {
		statements = append(statements, probeSQL)
	}
	return statements
}

// readProbe reads the result of a statement of the prelude, if it is the probe's.
func (s *session) readProbe(result *pgconn.ResultReader) {
	if fields := result.FieldDescriptions(); len(fields) != 2 || fields[0].Name != "pgtx_xid" {
		return
	}
	for result.NextRow() {
		values := result.Values() // text
		s.xid, s.server = string(values[0]), string(values[1])
	}
}

// unsupported adds ErrVerifyUnsupported to the error of a server that lacks what the probe asks
// for, or refuses it to the role.
func unsupported(err error) error {
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) || pgError.Code != "42883" && pgError.Code != "42501" {
		return err
	}
	for _, name := range []string{"pg_current_xact_id", "pg_postmaster_start_time", "pg_stat_get_bgwriter"} {
		if strings.Contains(pgError.Message, name) {
			return fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
		}
	}
	return err
}

// verify asks the server what happened to a transaction whose COMMIT ended with err in place of an
// answer.
func (s *session) verify(db DB, err error) (Outcome, error) {
	unknown := &CommitUnknownError{
		Err: err, XID: s.xid, Server: s.server, Key: s.opts.IdempotencyKey, Owner: s.claim.owner,
	}
	if unknown.XID == "" && unknown.Key == "" || s.opts.VerifyTimeout < 0 {
		return OutcomeUnknown, unknown
	}
	// The answer is worth having even if ctx has ended.
	found, err := unknown.resolve(context.WithoutCancel(s.ctx), db, s.opts.verifyTimeout())
	switch {
	case err != nil:
		unknown.Unresolved = err
		return OutcomeUnknown, unknown
	case found.answer == isCommitted && found.row != nil:
		// Another transaction with the key has committed, so this one cannot any more.
		s.hooks.dropInside(&s.root)
		if err := s.replayRow(found.row); err != nil {
			return OutcomeRolledBack, fmt.Errorf("idempotency key: %w", err)
		}
		return OutcomeCommitted, nil
	case found.answer == isCommitted:
		return OutcomeCommitted, nil
	}
	s.loseCommit(unknown.Err)
	return OutcomeRolledBack, fmt.Errorf("commit: rolled back, as the server says: %w", unknown.Err)
}

// endBackendSQL ends a backend that an attempt left behind. The process id alone is not enough: it
// may have been reused, and PgBouncer makes its own up.
const endBackendSQL = `select pg_terminate_backend(pid) from pg_stat_activity
	where pid = $1 and usename = session_user and datname = current_database() and pid <> pg_backend_pid()
	and state <> 'idle' and wait_event is distinct from 'SyncRep'
	and xact_start < clock_timestamp() - make_interval(secs => $2)`

// endBackend ends the backend of an attempt that AttemptTimeout gave up, so that the next attempt
// does not wait for its locks. It waits at most askLimit in all, and its errors do not matter.
func (s *session) endBackend(ctx context.Context, db DB) {
	if s.pid == 0 || s.pool == nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	// The transaction is about as old as the attempt. Half leaves room for the acquire.
	age := s.opts.AttemptTimeout.Seconds() / 2
	_ = askOn(limited, db, func(conn *pgx.Conn) error {
		_, err := conn.Exec(limited, endBackendSQL, unprepared, int64(s.pid), age)
		return err
	})
}
