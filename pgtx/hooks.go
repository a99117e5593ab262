package pgtx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

type moment int

const (
	beforeCommit moment = iota
	afterCommit
	afterRollback
)

// hook is a function that waits for the end of the transaction.
type hook struct {
	at    moment
	scope *tx // where it was registered
	call  func(context.Context) error
}

// hookList has the hooks of an attempt, in the order of registration.
type hookList struct {
	mu     sync.Mutex
	list   []hook
	called bool // the BeforeCommit hooks were called: none can be added
}

// BeforeCommit calls fn after the outermost function of the transaction on db in ctx has returned
// nil, and before COMMIT. fn runs inside the transaction: [From] and [Querier] find it with fn's
// ctx. An error of fn rolls the transaction back, and counts like one of the function. fn may
// register more hooks.
//
// A hook belongs to the savepoint (a nested Run, or Begin) in which it is registered. It is dropped
// if the savepoint is undone, or the whole is repeated. Without a transaction to wait for, the
// error is [ErrNoTransaction] or [ErrTxClosed]. A transaction that was begun elsewhere is an error
// too, because its end cannot be seen.
func BeforeCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, beforeCommit, fn)
}

// AfterCommit calls fn once after the transaction on db in ctx is committed, in the goroutine of
// the outermost Run, in the order of registration. fn's ctx has the values of Run's ctx, but not
// its end, so fn needs its own limit. The connection has been given back, and a Run on db with fn's
// ctx is a new transaction.
//
// All hooks are called, even if one fails or panics. Their errors are a [*HookError], which says
// that the transaction is committed. It is never repeated. No hook is called if the outcome of
// COMMIT is unknown. See [BeforeCommit] for savepoints and errors.
func AfterCommit(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, afterCommit, fn)
}

// AfterRollback calls fn once after the transaction on db in ctx was rolled back and will not be
// repeated, even if the function panicked. Its ctx is like the ctx of [AfterCommit]. Its error is
// added to Run's. No hook is called if the outcome of COMMIT is unknown, or if the function ended
// the transaction itself ([ErrEnded]). See [BeforeCommit] for savepoints and errors.
func AfterRollback(ctx context.Context, db DB, fn func(context.Context) error) error {
	return register(ctx, db, afterRollback, fn)
}

func register(ctx context.Context, db DB, at moment, fn func(context.Context) error) error {
	if fn == nil {
		return errors.New("hook: the function is nil")
	}
	t, isHandle := db.(*tx)
	if !isHandle {
		key, err := keyOf(db)
		if err != nil {
			return fmt.Errorf("hook: %w", err)
		}
		if t = findHandle(ctx, key); t == nil {
			return fmt.Errorf("hook: %w", ErrNoTransaction)
		}
	}
	h := &t.attempt.hooks
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case t.attempt.adopted:
		return errors.New("hook: the transaction was begun elsewhere, and its end cannot be seen: begin it with Run")
	case t.ended(), h.called && at == beforeCommit:
		return fmt.Errorf("hook: %w", ErrTxClosed)
	}
	h.list = append(h.list, hook{at: at, scope: t.scope(), call: fn})
	return nil
}

// dropInside drops the hooks that were registered inside scope, which was undone.
func (h *hookList) dropInside(scope *tx) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = slices.DeleteFunc(h.list, func(h hook) bool { return h.scope.isInside(scope) })
}

// callBefore calls the BeforeCommit hooks, and those that they register.
func (h *hookList) callBefore(ctx context.Context) error {
	for {
		h.mu.Lock()
		i := slices.IndexFunc(h.list, func(h hook) bool { return h.at == beforeCommit })
		if i < 0 {
			h.called = true
			h.mu.Unlock()
			return nil
		}
		next := h.list[i].call
		h.list = slices.Delete(h.list, i, i+1)
		h.mu.Unlock()
		if err := next(ctx); err != nil {
			return err
		}
	}
}

// callAfter calls the hooks that wait for the end of the transaction.
func (a *attempt) callAfter(at moment) error {
	h := &a.hooks
	h.mu.Lock()
	hooks := slices.DeleteFunc(h.list, func(h hook) bool { return h.at != at })
	h.list = nil
	h.mu.Unlock()
	if len(hooks) == 0 {
		return nil
	}
	return callAll(afterScope(a.call, &a.root), hooks)
}

// callAll calls all hooks, even if one panics or calls Goexit.
func callAll(ctx context.Context, hooks []hook) error {
	var failed []error
	for i, hook := range hooks {
		returned := false
		func() {
			defer func() {
				if !returned {
					_ = callAll(ctx, hooks[i+1:])
				}
			}()
			if err := hook.call(ctx); err != nil {
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
