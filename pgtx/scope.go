package pgtx

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"
)

type scopeKey struct{}

// scope is one entry in the list of open transactions that a context carries, innermost first.
// There is one list for all databases, so that a Run on a second database does not hide the first.
// It is the context that carries it, too.
type scope struct {
	context.Context
	tx    *tx
	outer *scope
}

func withScope(ctx context.Context, t *tx) context.Context {
	outer, _ := ctx.Value(scopeKey{}).(*scope)
	return &scope{Context: ctx, tx: t, outer: outer}
}

func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	return s.Context.Value(key)
}

// innermost returns the innermost handle that ctx carries for the database key, or nil.
func innermost(ctx context.Context, key any) *tx {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	for ; s != nil; s = s.outer {
		if s.tx.session.key == key {
			return s.tx
		}
	}
	return nil
}

// From returns the transaction that a Run on db has put into ctx, innermost first, and whether
// there is one. db is the value that was passed to Run, or a handle of that transaction. Once the
// function of that Run has returned, it is still returned, and every use of it is [ErrTxClosed]: a
// context that escaped must not silently fall back to the pool.
func From(ctx context.Context, db DB) (pgx.Tx, bool) {
	key, err := keyOf(db)
	if err != nil {
		return nil, false
	}
	if t := innermost(ctx, key); t != nil {
		return t, true
	}
	return nil, false
}

// keyOf identifies the database behind db: the value itself, and for a handle of ours what its
// transaction was begun on.
func keyOf(db DB) (any, error) {
	if t := handleOf(db); t != nil {
		return t.session.key, nil
	}
	value := reflect.ValueOf(db)
	if !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, errors.New("db is nil: pass a connected pool, a connection or a transaction")
	}
	if !value.Comparable() {
		return nil, fmt.Errorf("a db of type %T is not comparable, so a nested Run could not recognise it: pass a pointer", db)
	}
	return db, nil
}

func handleOf(db DB) *tx {
	switch t := db.(type) {
	case *tx:
		return t
	case *savepoint:
		return t.tx
	}
	return nil
}
