package pgtx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// IdempotencyTableSQL creates the table that Options.IdempotencyKey needs: put it into a migration.
// Its name is looked up in the search_path. A role that runs transactions with keys needs SELECT,
// INSERT and UPDATE on it.
//
// A key protects for as long as its row is there. Delete those that are older than any client may
// repeat its request:
//
//	delete from pgtx_idempotency_keys where created_at < now() - interval '7 days'
const IdempotencyTableSQL = `create table pgtx_idempotency_keys (
	key        text        primary key,
	created_at timestamptz not null default now(),
	result     jsonb
);
create index on pgtx_idempotency_keys (created_at);
`

// ErrNoResult is returned by [ValueWith] if a transaction with the same key has committed, but left
// no result: it was not run by ValueWith.
var ErrNoResult = errors.New("a transaction with this idempotency key has committed without storing a result: use keys of their own for ValueWith")

const (
	claimSQL  = `insert into pgtx_idempotency_keys (key) values ($1) on conflict (key) do nothing`
	resultSQL = `select result::text from pgtx_idempotency_keys where key = $1`
	storeSQL  = `update pgtx_idempotency_keys set result = $2::text::jsonb where key = $1`
)

// claim inserts the key's row. If it is there, applied is set: a transaction with the key has
// committed. One that is still in progress is waited for by the server.
func (s *session) claim(ctx context.Context) (applied bool, err error) {
	key := s.opts.IdempotencyKey
	var tag pgconn.CommandTag
	if s.raw != nil {
		tag, err = s.raw.Exec(ctx, claimSQL, key)
	} else {
		var results pgx.BatchResults
		results, err = s.beginWith(ctx, func(b *pgx.Batch) { b.Queue(claimSQL, key) })
		if err == nil {
			tag, err = results.Exec()
			if settled := s.settle(results, true); settled != nil {
				err = settled
			}
		}
	}
	s.note(err)
	var pgError *pgconn.PgError
	switch {
	case s.failure != nil:
		return false, err // of the begin, and says so
	case errors.As(err, &pgError) && pgError.Code == "42P01":
		return false, fmt.Errorf("idempotency key: %w: create the table with IdempotencyTableSQL", err)
	case err != nil:
		return false, fmt.Errorf("idempotency key: %w", err)
	case tag.RowsAffected() == 1:
		return false, nil
	}
	if s.opts.replay != nil {
		var result *string
		if err := s.raw.QueryRow(ctx, resultSQL, key).Scan(&result); err != nil {
			return false, fmt.Errorf("idempotency key: result: %w", err)
		}
		if err := s.opts.replay(result); err != nil {
			return false, fmt.Errorf("idempotency key: %w", err)
		}
	}
	return true, s.settledElsewhere(ctx)
}

// settledElsewhere makes sure, where replication is synchronous, that the row of another
// transaction with the key will not be lost by a failover: it may have been committed on this
// server only.
func (s *session) settledElsewhere(ctx context.Context) error {
	var sync bool
	if err := s.raw.QueryRow(ctx, `select current_setting('synchronous_standby_names') <> ''`).Scan(&sync); err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	if !sync || s.raw.Conn() == nil {
		return nil
	}
	if _, err := s.raw.Exec(ctx, "rollback"); err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	if answer, err := replicated(ctx, s.raw.Conn()); answer != isCommitted {
		return fmt.Errorf("idempotency key: %w", err)
	}
	return nil
}

// replayed are the options and the function of a Run whose result is kept with the key.
func replayed[T any](opts Options, result *T, fn func(context.Context, pgx.Tx) error) (Options, func(context.Context, pgx.Tx) error) {
	if opts.IdempotencyKey == "" {
		return opts, fn
	}
	opts.replay = func(stored *string) error {
		if stored == nil {
			return ErrNoResult
		}
		if err := json.Unmarshal([]byte(*stored), result); err != nil {
			return fmt.Errorf("stored result: %w", err)
		}
		return nil
	}
	return opts, func(ctx context.Context, tx pgx.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		text, err := json.Marshal(*result)
		if err != nil {
			return fmt.Errorf("idempotency key: result: %w", err)
		}
		if _, err := tx.Exec(ctx, storeSQL, opts.IdempotencyKey, string(text)); err != nil {
			return fmt.Errorf("idempotency key: result: %w", err)
		}
		return nil
	}
}

// askByKey looks for the key's row by trying to insert it, which waits for a transaction in
// progress that has: without a row afterwards there will be none. It works on any server that has
// what the last one confirmed.
func (e *CommitUnknownError) askByKey(ctx context.Context, conn *pgx.Conn) (outcome, error) {
	limited, cancel := context.WithTimeout(ctx, 2*askLimit) // askLimit for the lock
	defer cancel()
	tx, err := conn.Begin(limited)
	if err != nil {
		return notYet, err
	}
	answer, sync := notYet, false
	if _, err = tx.Exec(limited, "set local lock_timeout = "+strconv.FormatInt(askLimit.Milliseconds(), 10)); err == nil {
		var tag pgconn.CommandTag
		if tag, err = tx.Exec(limited, claimSQL, e.Key); err == nil {
			answer = isAborted
			if tag.RowsAffected() == 0 {
				answer = isCommitted
				err = tx.QueryRow(limited, `select current_setting('synchronous_standby_names') <> ''`).Scan(&sync)
			}
		}
	}
	cleanup, done := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer done()
	_ = tx.Rollback(cleanup)
	var pgError *pgconn.PgError
	switch {
	case errors.As(err, &pgError) && (pgError.Code == "42P01" || pgError.Code == "42501"):
		return isNever, fmt.Errorf("%w: %w", ErrUnresolved, err)
	case err != nil:
		return notYet, err
	case sync:
		return replicated(ctx, conn)
	}
	return answer, nil
}

// unclaimed ends a transaction whose function is not called.
func (s *session) unclaimed(ctx context.Context, applied bool, err error) (again bool, _ error) {
	lost, _ := s.rollback(ctx)
	if err == nil {
		return false, nil
	}
	single := s.pool == nil && s.closed()
	return !applied && !single && s.again(err, worthRepeating(err, lost)), err
}
