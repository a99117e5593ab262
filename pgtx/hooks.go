package pgtx

import (
	"context"
	"errors"
	"fmt"
)

// hooks are staged on the handle of the function in which they were registered. They move to the
// function around it when that one's savepoint is released, and are dropped with a savepoint that
// is undone.
type hooks struct {
	beforeCommit, afterCommit, afterRollback []func(context.Context) error

	called bool // those before COMMIT were: none can be added
	taken  bool // by whoever calls them, or the function around: a goroutine that comes now would add to what nobody reads
}

// BeforeCommit has fn called after the outermost function of the transaction on db in ctx has
// returned nil, and before COMMIT: inside the transaction, so that [From] and [Querier] give it
// with fn's ctx. An error of fn rolls the transaction back and is returned and repeated like one of
// the function. fn may register further ones.
//
// Like the other hooks it is staged where it is registered: if that is in a savepoint (a nested
// Run) and that is undone, the hook is dropped; if the whole is repeated, the hooks of the attempts
// before are. The error is [ErrNoTransaction] or [ErrTxClosed] if there is no transaction to wait
// for, and one that says so if it was begun elsewhere: its end cannot be seen.
func BeforeCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return stage(ctx, db, fn, func(h *hooks) bool {
		if h.called {
			return false
		}
		h.beforeCommit = append(h.beforeCommit, fn)
		return true
	})
}

// AfterCommit has fn called once after the transaction on db in ctx is committed, in the goroutine
// of the outermost Run, in the order of registration, with that Run's ctx except that it does not
// end: what follows a commit should not depend on the caller's patience, so fn needs its own limit.
// The connection has been given back. All hooks are called, even if one fails; their errors are a
// [*HookError], which says that the transaction is committed and is never retried. None is called
// if the outcome of COMMIT is unknown. Staging and errors are those of [BeforeCommit].
func AfterCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return stage(ctx, db, fn, func(h *hooks) bool { h.afterCommit = append(h.afterCommit, fn); return true })
}

// AfterRollback has fn called once after the transaction on db in ctx was rolled back and will not
// be repeated, with a ctx like that of [AfterCommit]; also when the function panicked. Its error is
// added to Run's. None is called if the outcome of COMMIT is unknown, or the function ended the
// transaction itself ([ErrEnded]). A nested Run that is undone drops those registered in it: its
// error is seen at once. Staging and errors are those of [BeforeCommit].
func AfterRollback(ctx context.Context, db DB, fn func(context.Context) error) error {
	return stage(ctx, db, fn, func(h *hooks) bool { h.afterRollback = append(h.afterRollback, fn); return true })
}

func stage(ctx context.Context, db DB, fn func(context.Context) error, add func(*hooks) bool) error {
	if fn == nil {
		return errors.New("hook: the function is nil")
	}
	t := handleOf(db)
	if t == nil {
		key, err := keyOf(db)
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		if t = innermost(ctx, key); t == nil {
			return fmt.Errorf("hook: %w", ErrNoTransaction)
		}
	}
	switch {
	case t.ended():
		return fmt.Errorf("hook: %w", ErrTxClosed)
	case t.session.adopted:
		return errors.New("hook: the transaction was begun elsewhere, and its end cannot be seen: begin it with Run")
	}
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	if t.hooks.taken || !add(&t.hooks) {
		return fmt.Errorf("hook: %w", ErrTxClosed)
	}
	return nil
}

// handUp gives the hooks of a function that succeeded to the one around it.
func (t *tx) handUp() {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	up := &t.parent.hooks
	up.beforeCommit = append(up.beforeCommit, t.hooks.beforeCommit...)
	up.afterCommit = append(up.afterCommit, t.hooks.afterCommit...)
	up.afterRollback = append(up.afterRollback, t.hooks.afterRollback...)
	t.hooks = hooks{taken: true}
}

// takeHooks returns the hooks of the outermost function, to be called.
func (t *tx) takeHooks() hooks {
	t.session.mu.Lock()
	defer t.session.mu.Unlock()
	taken := t.hooks
	t.hooks = hooks{taken: true}
	return taken
}

// runBeforeCommit calls the hooks of the outermost function, those that they register included.
func (t *tx) runBeforeCommit(ctx context.Context) error {
	for {
		t.session.mu.Lock()
		next := t.hooks.beforeCommit
		t.hooks.beforeCommit = nil
		t.hooks.called = len(next) == 0
		t.session.mu.Unlock()
		if len(next) == 0 {
			return nil
		}
		for _, hook := range next {
			if err := hook(ctx); err != nil {
				return err
			}
		}
	}
}

// conclude calls the hooks that wait for the end of the transaction, after its last attempt ended
// with err.
func (t *tx) conclude(ctx context.Context, err error) error {
	staged := t.takeHooks()
	if t.session.unknown || len(staged.afterCommit) == 0 && len(staged.afterRollback) == 0 {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		if failed := callAll(ctx, staged.afterRollback); failed != nil {
			return errors.Join(err, fmt.Errorf("after rollback: %w", failed))
		}
		return err
	}
	if failed := callAll(ctx, staged.afterCommit); failed != nil {
		return &HookError{Err: failed}
	}
	return nil
}

func callAll(ctx context.Context, hooks []func(context.Context) error) error {
	var failed []error
	for _, hook := range hooks {
		if err := hook(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return errors.Join(failed...)
}
