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
		s.close()
		s.giveBack()
		return OutcomeCommitted, nil
	}
	start := time.Now()
	outcome, err := s.sendCommit()
	if s.release(); outcome == OutcomeUnknown {
		outcome, err = s.verify(db, err)
	}
	if s.times.commit = time.Since(start); err == nil {
		s.close()
	}
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
