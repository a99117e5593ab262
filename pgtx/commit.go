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

// commit ends the transaction after its function returned nil, and reports whether the function may
// run again. What can be known without asking the server is checked first, because from COMMIT on a
// lost connection means an unknown outcome. ROLLBACK is sent instead of COMMIT wherever the server
// could only roll back.
func (s *session) commit(ctx context.Context, db DB) (again bool, err error) {
	free := s.shut()
	switch {
	case !free || s.busy() || s.broken.Load():
		err = fmt.Errorf("commit: rolled back: %w", ErrTxInUse)
	case ctx.Err() != nil:
		err = fmt.Errorf("commit: rolled back: %w", context.Cause(ctx))
	case s.doomed != nil:
		err = fmt.Errorf("commit: rolled back, for a nested transaction failed and cannot be undone alone: %w", s.doomed)
	case s.closed():
		err = fmt.Errorf("commit: the connection was lost before COMMIT was sent: %w", s.lossCause())
	case s.status() == 'E':
		err = s.swallowed()
	case s.status() == 'I':
		err = fmt.Errorf("commit: %w", ErrEnded)
	}
	if err != nil {
		lost, ended := s.abandon(ctx)
		return !ended && s.again(err, worthRepeating(err, lost)), err
	}

	if s.raw == nil {
		s.giveBack()
		return false, nil // there was no statement, and so no BEGIN
	}

	caller := ctx
	if s.raw != &s.leased {
		var cancel context.CancelFunc
		ctx, cancel = outlast(ctx, cleanupLimit)
		defer cancel()
	}
	s.committing = time.Now()
	err = s.commitError(s.raw.Commit(ctx))
	s.times.commit = time.Since(s.committing)
	var unknown *CommitUnknownError
	if s.unknown && errors.As(err, &unknown) {
		again, err = s.verify(caller, db, unknown)
		s.times.commit = time.Since(s.committing)
		return again, err
	}
	return err != nil && s.opts.again(err, worthRepeating(err, false)), err
}

func (s *session) swallowed() error {
	first := s.failed
	if first == nil {
		first = pgx.ErrTxCommitRollback
	}
	return &SwallowedError{First: first}
}

// commitError says what the answer to COMMIT means. pgconn.SafeToRetry must not be asked: it is
// true for a connection that died after COMMIT was sent.
func (s *session) commitError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return s.swallowed()
	}
	var pgError *pgconn.PgError
	if errors.As(err, &pgError) && refusesCommit(pgError) {
		return fmt.Errorf("commit: %w", err)
	}
	s.unknown = true
	return &CommitUnknownError{Err: err}
}

// refusesCommit reports whether a server error in answer to COMMIT means that the transaction was
// rolled back: an ordinary ERROR does. A FATAL or PANIC may come after the commit record was
// written, and the connection exceptions (08, PgBouncer's among them), 40003 (statement completion
// unknown) and the shutdowns (57P01 to 57P03) say themselves that they do not know.
func refusesCommit(e *pgconn.PgError) bool {
	severity := e.SeverityUnlocalized
	if severity == "" {
		severity = e.Severity
	}
	switch {
	case severity != "ERROR":
		return false
	case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "57P"), e.Code == "40003":
		return false
	}
	return true
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
