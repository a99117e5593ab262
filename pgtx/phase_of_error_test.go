package pgtx_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgtx"
)

// The time is that of the phase, not of what came before it.
func TestPhaseAfter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const wait = 100 * time.Millisecond
	err := pgtx.RunWith(t.Context(), taken(t, b), pgtx.Options{MaxAttempts: 1, AcquireTimeout: wait},
		func(ctx context.Context, tx pgx.Tx) error {
			return add(ctx, tx, 1, 1)
		})
	var failed *pgtx.PhaseError
	if !errors.As(err, &failed) || failed.After < wait {
		t.Errorf("%v: %+v, want at least %v in acquire", err, failed, wait)
	}

	b.exec(t, deferred)
	began := time.Now()
	var ran time.Duration
	err = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, tx pgx.Tx) error {
		defer func() { ran = time.Since(began) }()
		if _, err := tx.Exec(ctx, `select pg_sleep(0.2)`); err != nil {
			return err
		}
		return orphan(ctx, tx)
	})
	took := time.Since(began)
	failed = nil
	if !errors.As(err, &failed) || failed.Phase != "commit" || failed.After > took-ran {
		t.Errorf("%v: %+v, want at most %v in commit", err, failed, took-ran)
	}
}

// What the function returns comes back as it is: there is no PhaseError around it.
func TestFunctionErrorsHaveNoPhase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, opts := range map[string]pgtx.Options{"outermost": {}, "savepoint": {}, "joined": {Nesting: pgtx.Join}, "separate": {Nesting: pgtx.Separate}} {
		fail := func(ctx context.Context, tx pgx.Tx) error {
			if err := add(ctx, tx, 1, 1); err != nil {
				return err
			}
			return errBusiness
		}
		var err error
		if name == "outermost" {
			err = pgtx.RunWith(t.Context(), b.pool, opts, fail)
		} else {
			_ = pgtx.Run(t.Context(), b.pool, func(ctx context.Context, _ pgx.Tx) error {
				err = pgtx.RunWith(ctx, b.pool, opts, fail)
				return err
			})
		}
		if err != errBusiness {
			t.Errorf("%s: error is %#v, want the function's own", name, err)
		}
	}
}

// An error of the first statement is its own also where the description of its rows came before.
func TestFirstStatementErrorsHaveNoPhase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, opts := range []pgtx.Options{{}, {VerifyCommit: true}} {
		err := pgtx.RunWith(t.Context(), b.pool, opts, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select 1 / (id - 1) from accounts order by id desc`)
			return err
		})
		var pgError *pgconn.PgError
		if !errors.As(err, &pgError) || pgError.Code != "22012" || errors.As(err, new(*pgtx.PhaseError)) {
			t.Errorf("verified is %v: error is %v, want the statement's", opts.VerifyCommit, err)
		}
	}
}
