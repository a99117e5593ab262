package pgtx

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// LockKey identifies an advisory lock: a number that all users of the database agree on. Make it
// from a name with [KeyOf], or convert an integer that nothing else uses.
type LockKey int64

// KeyOf returns the key of a name in a namespace: the 64-bit FNV-1a hash of the namespace, a zero
// byte and the name. It is the same in every version, so programs that are built apart use the same
// lock. Two of a million names share a key with a probability of about 3 in 100 million. Then they
// wait for each other without need.
func KeyOf(namespace, name string) LockKey {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(namespace + "\x00" + name)) // never fails
	return LockKey(hash.Sum64())                         //nolint:gosec // all 64 bits are wanted
}

// LockOptions change how [Lock] and [TryLock] take their locks. With the zero value locks are
// exclusive, and the wait has no limit of its own.
type LockOptions struct {
	// Shared locks exclude exclusive locks, but not each other. Defaults to exclusive.
	Shared bool

	// Timeout limits how long the server waits for each lock, rounded up to whole milliseconds. It
	// replaces the lock_timeout in force, which is restored afterwards. A negative one switches the
	// limit off. TryLock never waits. Prefer it to a deadline of ctx, which costs the connection.
	// Defaults to the lock_timeout in force.
	Timeout time.Duration
}

// ErrLockTimeout is returned by [Lock] if a lock was not free within LockOptions.Timeout or the
// lock_timeout in force.
var ErrLockTimeout = errors.New("advisory lock not free")

// Lock takes advisory locks on keys, in one round trip. It waits until they are free or ctx ends.
// The locks are held until the transaction ends, or the savepoint in which they were taken is
// undone; there is no unlock. Lock takes several keys in the order of their values, so two
// transactions with the same keys cannot deadlock over them.
//
// If a lock is not free in time, the error matches [ErrLockTimeout] and the server's (55P03). Like
// every error of a statement it leaves a transaction that can only be rolled back. In a nested Run
// only that one is undone.
//
// Under REPEATABLE READ and SERIALIZABLE the statement that takes the lock also fixes the snapshot,
// so it does not see what the last holder committed during the wait. Take locks under READ
// COMMITTED, or lock a row.
func Lock(ctx context.Context, tx pgx.Tx, opts LockOptions, keys ...LockKey) error {
	batch := &pgx.Batch{}
	if opts.Timeout != 0 {
		batch.Queue(`select set_config('pgtx.lock_timeout', current_setting('lock_timeout'), true),
			set_config('lock_timeout', $1, true)`, milliseconds(opts.Timeout))
	}
	for _, key := range sorted(keys) {
		batch.Queue(lockSQL("pg_advisory_xact_lock", opts), int64(key))
	}
	if opts.Timeout != 0 {
		batch.Queue(`select set_config('lock_timeout', current_setting('pgtx.lock_timeout'), true)`)
	}
	err := send(ctx, tx, batch)
	switch {
	case err == nil:
		return nil
	case !hasCode(err, "55P03"):
		return fmt.Errorf("lock: %w", err)
	case opts.Timeout > 0:
		return fmt.Errorf("lock: %w within %v: %w", ErrLockTimeout, opts.Timeout, err)
	}
	return fmt.Errorf("lock: %w: %w", ErrLockTimeout, err)
}

// send sends a batch. A single statement can travel with BEGIN; a batch cannot.
func send(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
	if batch.Len() != 1 {
		return tx.SendBatch(ctx, batch).Close()
	}
	_, err := tx.Exec(ctx, batch.QueuedQueries[0].SQL, batch.QueuedQueries[0].Arguments...)
	return err
}

// TryLock is [Lock] without a wait. It reports whether all keys were free. If one was not, this
// call holds none of them; for several keys that takes a savepoint.
func TryLock(ctx context.Context, tx pgx.Tx, opts LockOptions, keys ...LockKey) (bool, error) {
	keys = sorted(keys)
	if len(keys) <= 1 {
		return tryAll(ctx, tx, opts, keys)
	}
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("try lock: %w", err)
	}
	free, err := tryAll(ctx, savepoint, opts, keys)
	if err == nil && free {
		err = savepoint.Commit(ctx)
	} else {
		err = errors.Join(err, savepoint.Rollback(ctx))
	}
	return free && err == nil, err
}

func tryAll(ctx context.Context, tx pgx.Tx, opts LockOptions, keys []LockKey) (bool, error) {
	batch, all := &pgx.Batch{}, true
	for _, key := range keys {
		batch.Queue(lockSQL("pg_try_advisory_xact_lock", opts), int64(key)).QueryRow(func(row pgx.Row) error {
			var free bool
			err := row.Scan(&free)
			all = all && free
			return err
		})
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return false, fmt.Errorf("try lock: %w", err)
	}
	return all, nil
}

func lockSQL(function string, opts LockOptions) string {
	if opts.Shared {
		function += "_shared"
	}
	return "select " + function + "($1)"
}

// sorted returns the keys in order, each once.
func sorted(keys []LockKey) []LockKey {
	return slices.Compact(slices.Sorted(slices.Values(keys)))
}
