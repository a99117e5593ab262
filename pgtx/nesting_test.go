package pgtx_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

// nestedIn runs a function that adds 10 to account 2 and returns result, inside one that takes 10
// from account 1 and returns nil whatever the inner one did.
func nestedIn(ctx context.Context, pool *pgxpool.Pool, opts pgtx.Options, result error) (outer, inner error) {
	outer = pgtx.Run(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		inner = pgtx.RunWith(ctx, pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 2, 10); err != nil {
				return err
			}
			return result
		})
		return nil
	})
	return outer, inner
}

func TestNesting(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		nesting      pgtx.Nesting
		result       error
		outer, inner error
		one, two     int
	}{
		{"savepoint fails", pgtx.Savepoint, errBusiness, nil, errBusiness, 90, 100},
		{"required fails", pgtx.Required, errBusiness, nil, errBusiness, 90, 100},
		{"required succeeds", pgtx.Required, nil, nil, nil, 90, 110},
		{"join succeeds", pgtx.Join, nil, nil, nil, 90, 110},
		{"join fails", pgtx.Join, errBusiness, errBusiness, errBusiness, 100, 100},
		{"separate succeeds", pgtx.Separate, nil, nil, nil, 90, 110},
		{"separate fails", pgtx.Separate, errBusiness, nil, errBusiness, 90, 100},
		{"forbidden", pgtx.Forbidden, nil, nil, pgtx.ErrNested, 90, 100},
	}
	for _, tt := range tests {
		for _, eager := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				outer, inner := nestedIn(t.Context(), b.pool, pgtx.Options{Nesting: tt.nesting, Eager: eager},
					tt.result)
				if !errors.Is(outer, tt.outer) || !errors.Is(inner, tt.inner) {
					t.Errorf("errors are %v and %v, want %v and %v", outer, inner, tt.outer, tt.inner)
				}
				if one, two := b.balance(t, 1), b.balance(t, 2); one != tt.one || two != tt.two {
					t.Errorf("balances are %d and %d, want %d and %d", one, two, tt.one, tt.two)
				}
			})
		}
	}
}

func TestNestingOutside(t *testing.T) {
	t.Parallel()
	for nesting, want := range map[pgtx.Nesting]error{
		pgtx.Join: nil, pgtx.Separate: nil, pgtx.Forbidden: nil, pgtx.Required: pgtx.ErrNoTransaction,
	} {
		b := setup(t)
		opts := pgtx.Options{Nesting: nesting}
		err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		})
		if !errors.Is(err, want) {
			t.Errorf("nesting %d: %v, want %v", nesting, err, want)
		}
		if err := pgtx.Atomic(t.Context(), b.pool, opts, moves()); !errors.Is(err, want) {
			t.Errorf("nesting %d, Atomic: %v, want %v", nesting, err, want)
		}
	}
}

// A nested Run cannot change the transaction around it. The error says which option, and what to
// do.
func TestOptionsOfAnotherTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for want, opts := range map[string]pgtx.Options{
		"IdempotencyKey":            {IdempotencyKey: "k"},
		"StatementTimeout":          {StatementTimeout: time.Second},
		"AttemptTimeout":            {AttemptTimeout: time.Second},
		"LockTimeout":               {LockTimeout: time.Second},
		"IsoLevel serializable":     {TxOptions: pgx.TxOptions{IsoLevel: pgx.Serializable}},
		"AccessMode read only":      {TxOptions: pgx.TxOptions{AccessMode: pgx.ReadOnly}},
		"DeferrableMode deferrable": {TxOptions: pgx.TxOptions{DeferrableMode: pgx.Deferrable}},
		"BeginQuery":                {TxOptions: pgx.TxOptions{BeginQuery: "begin isolation level serializable"}},
		"CommitQuery":               {TxOptions: pgx.TxOptions{CommitQuery: "commit and chain"}},
	} {
		for _, nesting := range []pgtx.Nesting{pgtx.Savepoint, pgtx.Join} {
			opts.Nesting = nesting
			outer, inner := nestedIn(t.Context(), b.pool, opts, nil)
			if !errors.Is(inner, pgtx.ErrOptionConflict) ||
				!strings.Contains(inner.Error(), "set "+want+" on the outermost Run") {
				t.Errorf("nesting %d: error is %v, want %q", nesting, inner, want)
			}
			if outer != nil {
				t.Errorf("nesting %d: the outer one fails: %v", nesting, outer)
			}
		}
	}
	if one, two := b.balance(t, 1), b.balance(t, 2); one != 100-18*10 || two != 100 {
		t.Errorf("balances are %d and %d: an inner function was called", one, two)
	}
}

// What a separate transaction did stays, whatever becomes of the one around it.
func TestSeparateSurvivesTheOuterRollback(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		// By the handle: the database is found through it.
		if err := pgtx.RunWith(ctx, tx, pgtx.Options{Nesting: pgtx.Separate},
			func(ctx context.Context, tx pgx.Tx) error {
				return add(ctx, tx, 2, 10)
			}); err != nil {
			t.Errorf("separate: %v", err)
		}
		return errBusiness
	})
	if one, two := b.balance(t, 1), b.balance(t, 2); !errors.Is(err, errBusiness) || one != 100 || two != 110 {
		t.Errorf("error is %v, balances %d and %d, want 100 and 110", err, one, two)
	}
}

func TestSeparateFailsFastOnAFullPool(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, _ := countFlushes(t, b.url, pgx.QueryExecModeCacheStatement) // of one connection
	began := time.Now()
	outer, inner := nestedIn(t.Context(), pool, pgtx.Options{Nesting: pgtx.Separate}, nil)
	if outer != nil || !errors.Is(inner, pgtx.ErrPoolFull) {
		t.Errorf("errors are %v and %v, want nil and ErrPoolFull", outer, inner)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestJoinPanicUndoesTheWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		if err := add(ctx, tx, 1, -10); err != nil {
			return err
		}
		func() {
			defer func() { _ = recover() }()
			_ = pgtx.RunWith(ctx, b.pool, pgtx.Options{Nesting: pgtx.Join}, func(context.Context, pgx.Tx) error {
				panic("boom")
			})
		}()
		return nil
	})
	if got := b.balance(t, 1); err == nil || got != 100 {
		t.Errorf("error is %v and balance %d, want an error and 100", err, got)
	}
}
