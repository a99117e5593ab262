package pgtx

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"
)

// From returns the innermost transaction that a Run on db has put into ctx, and whether there is
// one. db is the value that was passed to Run, or a handle of that transaction. After the function
// of that Run has returned, From still returns the handle, whose every use is [ErrTxClosed]: a
// context that escaped must not silently fall back to the pool.
func From(ctx context.Context, db DB) (pgx.Tx, bool) {
	key, err := keyOf(db)
	if err != nil {
		return nil, false
	}
	if t := findHandle(ctx, key); t != nil {
		return t, true
	}
	return nil, false
}

// Querier returns the transaction of [From], or db if there is none. A repository that runs its
// statements on the result works inside and outside of transactions, with one version of each
// method.
func Querier(ctx context.Context, db DB) DB {
	if tx, ok := From(ctx, db); ok {
		return tx
	}
	return db
}

// Attempt returns the number of the attempt of the innermost transaction in ctx: 1 in the first, 0
// outside a Run.
func Attempt(ctx context.Context) int {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.attempt.number
	}
	return 0
}

// Name returns the Options.Name of the innermost Run in ctx, or "" outside. Tracers of pgx can use
// it and [Attempt]: the ctx of every statement of a transaction has both, and so has the ctx of the
// acquire, BEGIN, COMMIT and savepoints.
func Name(ctx context.Context) string {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s.tx.name
	}
	return ""
}

// keyOf identifies the database behind db: by the value itself, or for a handle of this package by
// the value that its transaction was begun on.
func keyOf(db DB) (any, error) {
	if t, ok := db.(*tx); ok {
		return t.attempt.key, nil
	}
	value := reflect.ValueOf(db)
	if !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, errors.New("db is nil: pass a connected pool, a connection or a transaction")
	}
	if !value.Comparable() {
		return nil, fmt.Errorf("a db of type %T is not comparable, so a nested Run could not recognize it: "+
			"pass a pointer", db)
	}
	return db, nil
}

type scopeKey struct{}

// scope is a context and its entry in the list of open transactions that it carries, innermost
// first. There is one list for all databases, so that a Run on a second database does not hide the
// first.
type scope struct {
	context.Context
	tx    *tx
	key   any
	ended bool // hides the transactions of its database around it, which hooks run after
	outer *scope
}

func withScope(ctx context.Context, t *tx) *scope {
	outer, _ := ctx.Value(scopeKey{}).(*scope)
	return &scope{Context: ctx, tx: t, key: t.attempt.key, outer: outer}
}

// afterScope returns a context for hooks that run after the transaction of t has ended. It does not
// end with ctx.
func afterScope(ctx context.Context, t *tx) context.Context {
	s := withScope(context.WithoutCancel(ctx), t)
	s.ended = true
	return s
}

func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	return s.Context.Value(key)
}

// findHandle returns the innermost handle that ctx carries for the database key, or nil.
func findHandle(ctx context.Context, key any) *tx {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	for ; s != nil; s = s.outer {
		if s.key == key {
			if s.ended {
				return nil
			}
			return s.tx
		}
	}
	return nil
}
