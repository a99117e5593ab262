package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// commit ends the transaction after its function returned nil. What can be known without asking the
// server is checked first, because from COMMIT on a lost connection means an unknown outcome.
// ROLLBACK is sent instead of COMMIT wherever the server could only roll back.
func (s *session) commit(db DB) error {
	s.shut()
	if s.answer == nil {
		err := s.whyNotCommit()
		if err == nil {
			err = s.storeResult()
		}
		if err != nil {
			s.rollback()
			return err
		}
	}
	if s.state == stateIdle { // there was no statement, and so no BEGIN
		s.close()
		s.outcome = OutcomeCommitted
		s.giveBack()
		return nil
	}
	s.committing = time.Now()
	unknown, err := s.sendCommit()
	if s.release(); unknown {
		err = s.verify(db, err)
	}
	if s.times.commit = time.Since(s.committing); err == nil {
		s.close()
		s.outcome = OutcomeCommitted
	}
	return err
}

func (s *session) whyNotCommit() error {
	switch {
	case s.state == stateEnded:
		return fmt.Errorf("commit: %w", ErrEnded)
	case s.inUse:
		return fmt.Errorf("commit: rolled back: %w", ErrTxInUse)
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

// sendCommit sends COMMIT and judges the answer. unknown reports that there was none, or one that
// does not tell.
func (s *session) sendCommit() (unknown bool, err error) {
	if s.answer != nil {
		if errors.Is(s.answer.err, pgx.ErrTxCommitRollback) {
			return false, s.failure()
		}
		return s.judgeCommit(s.answer.err, s.answer.unwritten)
	}
	if s.raw != nil {
		ctx, cancel := outlast(s.ctx, cleanupLimit)
		defer cancel()
		if err = s.raw.Commit(ctx); errors.Is(err, pgx.ErrTxCommitRollback) {
			return false, s.failure()
		}
		return s.judgeCommit(err, false)
	}
	conn := s.conn
	query := s.opts.TxOptions.CommitQuery
	if query == "" {
		query = "commit"
	}
	stop := s.reaper.start(s.ctx, conn)
	result, err := s.sendSimple(context.WithoutCancel(s.ctx), query, nil)
	if stop() {
		kill(conn) // the answer may have come just before: the connection must not go back to the pool
		if err != nil {
			err = fmt.Errorf("no answer within %v after the end of ctx (%w): %w",
				cleanupLimit, context.Cause(s.ctx), err)
		}
	}
	if !conn.IsClosed() && conn.PgConn().TxStatus() != 'I' {
		kill(conn)
	}
	if err == nil && result.answers.rollbacks > 0 && result.answers.commits == 0 {
		return false, s.failure()
	}
	return s.judgeCommit(err, result.unwritten)
}

// judgeCommit says what the answer to COMMIT means. pgconn.SafeToRetry alone must not be asked: it
// is true for a connection that died after COMMIT was sent.
func (s *session) judgeCommit(err error, unwritten bool) (unknown bool, _ error) {
	switch judgment := judgeCommit(err, unwritten); {
	case judgment == commitDone:
		return false, nil
	case judgment == commitRefused:
		s.fail(stateFailed, err)
		return false, fmt.Errorf("commit: %w", err)
	case judgment == commitUnsent:
		s.fail(stateLost, err)
		return false, fmt.Errorf("commit: the session was over before COMMIT was executed: %w", err)
	case s.opts.TxOptions.AccessMode == pgx.ReadOnly && !s.mayWrite:
		s.repeatable = true
		return false, fmt.Errorf("commit: no answer to the COMMIT of a read-only transaction: %w", err)
	}
	s.outcome = OutcomeUnknown
	return true, err
}

type commitJudgment int

const (
	commitDone    commitJudgment = iota
	commitRefused                // the server rolled back
	commitUnsent                 // COMMIT did not leave, or came too late
	commitUnknown
)

// judgeCommit says what an error in place of COMMIT's answer means.
//
// An ordinary ERROR is a rollback. A FATAL or PANIC may come after the commit record was written;
// the connection exceptions (08, PgBouncer's among them), 40003 (statement completion unknown) and
// the shutdowns (57P01 to 57P03) say themselves that they do not know. The server ends an idle
// session with 25P03, 25P04 or 57P05, never one that has come to COMMIT.
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
	if severity(pgError) != "ERROR" || strings.HasPrefix(pgError.Code, "08") || strings.HasPrefix(pgError.Code, "57P") {
		return commitUnknown
	}
	return commitRefused
}

// severity is the severity in English.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity
}

// outlast returns a context with ctx's values that ends only a while after ctx does.
func outlast(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil {
		return ctx, func() {} // it never ends
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// patience ends a statement cleanupLimit after the end of ctx. Doing it as outlast does costs
// several per cent of a short transaction; this costs next to nothing unless ctx ends. It closes
// the socket, so it must be stopped before the connection is handed on.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer
	over  bool // stopped
	cut   bool
}

// start begins to watch ctx. The function it returns stops that, and reports whether the socket was
// closed.
func (p *patience) start(ctx context.Context, conn *pgx.Conn) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	unwatch := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			p.timer = time.AfterFunc(cleanupLimit, func() { p.end(conn) })
		}
	})
	return func() bool {
		if unwatch() {
			return false // ctx has not ended
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.over = true
		if p.timer != nil {
			p.timer.Stop()
		}
		return p.cut
	}
}

func (p *patience) end(conn *pgx.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.cut = true
		_ = conn.PgConn().Conn().Close()
	}
}
