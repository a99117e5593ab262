package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// hook is a function that waits for the end of the transaction. A session has one list of them, in
// the order of registration. A savepoint that is undone drops those that were registered inside.
type hook struct {
	when  when
	scope *tx // in which it was registered
	fn    func(context.Context) error
}

type when int

const (
	beforeCommit when = iota
	afterCommit
	afterRollback
)

// BeforeCommit calls fn after the outermost function of the transaction on db in ctx has returned
// nil, and before COMMIT: inside the transaction, so that [From] and [Querier] give it with fn's
// ctx. An error of fn rolls the transaction back and is returned and repeated like one of the
// function. fn may register further ones.
//
// A hook belongs to the savepoint (a nested Run, or Begin) in which it is registered: it is dropped
// if that is undone, and when the whole is repeated. The error is [ErrNoTransaction] or
// [ErrTxClosed] if there is no transaction to wait for, and one that says so if the transaction was
// begun elsewhere: its end cannot be seen.
func BeforeCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, beforeCommit, fn)
}

// AfterCommit calls fn once after the transaction on db in ctx is committed, in the goroutine of
// the outermost Run, in the order of registration. Its ctx is that Run's without its end, because
// what follows a commit should not depend on the caller's patience: fn needs its own limit. The
// connection has been given back, and a Run on db with fn's ctx is a transaction of its own.
//
// All hooks are called, even if one fails or panics; their errors are a [*HookError], which says
// that the transaction is committed and is never retried. None is called if the outcome of COMMIT
// is unknown. See [BeforeCommit] for savepoints and errors.
func AfterCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, afterCommit, fn)
}

// AfterRollback calls fn once after the transaction on db in ctx was rolled back and will not be
// repeated, with a ctx like that of [AfterCommit]; also when the function panicked. Its error is
// added to Run's. None is called if the outcome of COMMIT is unknown, or the function ended the
// transaction itself ([ErrEnded]). See [BeforeCommit] for savepoints and errors.
func AfterRollback(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, afterRollback, fn)
}

func register(ctx context.Context, db DB, when when, fn func(context.Context) error) error {
	if fn == nil {
		return errors.New("hook: the function is nil")
	}
	t := handleOf(db)
	if t == nil {
		key, err := keyOf(db)
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		if t = findHandle(ctx, key); t == nil {
			return fmt.Errorf("hook: %w", ErrNoTransaction)
		}
	}
	switch {
	case t.ended():
		return fmt.Errorf("hook: %w", ErrTxClosed)
	case t.session.adopted:
		return errors.New("hook: the transaction was begun elsewhere, and its end cannot be seen: begin it with Run")
	}
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken || s.called && when == beforeCommit {
		return fmt.Errorf("hook: %w", ErrTxClosed)
	}
	s.hooks = append(s.hooks, hook{when: when, scope: t.scope(), fn: fn})
	return nil
}

// dropHooksOf drops the hooks that were registered inside a savepoint that was undone.
func (s *session) dropHooksOf(savepoint *tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = slices.DeleteFunc(s.hooks, func(h hook) bool { return h.scope.isInside(savepoint) })
}

func (s *session) dropHooks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = nil
}

// takeHooks returns the hooks of one kind after the end of the transaction. No hook can be added
// afterwards.
func (s *session) takeHooks(when when) (taken []func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	for _, h := range s.hooks {
		if h.when == when {
			taken = append(taken, h.fn)
		}
	}
	return taken
}

// runBeforeCommit calls the BeforeCommit hooks, those that they register included.
func (s *session) runBeforeCommit() error {
	for {
		s.mu.Lock()
		var next func(context.Context) error
		i := slices.IndexFunc(s.hooks, func(h hook) bool { return h.when == beforeCommit })
		if s.called = i < 0; i >= 0 {
			next = s.hooks[i].fn
			s.hooks = slices.Delete(s.hooks, i, i+1)
		}
		s.mu.Unlock()
		if next == nil {
			return nil
		}
		if err := next(s.ctx); err != nil {
			return err
		}
	}
}

// runLastHooks calls the hooks that wait for the end of the transaction, after its last attempt
// ended with err. s is that attempt.
func (s *session) runLastHooks(ctx context.Context, err error) error {
	switch s.outcome {
	case OutcomeCommitted:
		if failed := callAll(afterScope(ctx, &s.root), s.takeHooks(afterCommit)); failed != nil {
			return &HookError{Err: failed}
		}
	case OutcomeRolledBack:
		if failed := callAll(afterScope(ctx, &s.root), s.takeHooks(afterRollback)); failed != nil {
			failed = fmt.Errorf("after rollback: %w", failed)
			if err == nil {
				return failed
			}
			return errors.Join(err, failed)
		}
	case OutcomeReleased, OutcomeUnknown:
	}
	return err
}

// callAll calls all hooks, also if one panics or calls Goexit.
func callAll(ctx context.Context, hooks []func(context.Context) error) error {
	var failed []error
	for i, hook := range hooks {
		returned := false
		func() {
			defer func() {
				if !returned {
					_ = callAll(ctx, hooks[i+1:])
				}
			}()
			if err := hook(ctx); err != nil {
				failed = append(failed, err)
			}
			returned = true
		}()
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return errors.Join(failed...)
}
