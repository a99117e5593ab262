package pgtx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// IdempotencyTableSQL creates the table that Options.IdempotencyKey needs: put it into a migration.
// Its name is looked up in the search_path that a connection starts with, before Settings apply. A
// role that runs transactions with keys needs SELECT, INSERT and UPDATE on it, and DELETE for
// [Forget].
//
// A key protects as long as its row is there. Use [Forget] to delete rows that are older than any
// repeated request can be.
const IdempotencyTableSQL = `create table pgtx_idempotency_keys (
	key         text        primary key,
	owner       text        not null,
	fingerprint text        not null,
	created_at  timestamptz not null default now(),
	result      jsonb
);
create index on pgtx_idempotency_keys (created_at);
`

var (
	// ErrNoResult is returned by [ValueWith] if a transaction with the same key has committed
	// without a result: ValueWith did not run it.
	ErrNoResult = errors.New("a transaction with this idempotency key has committed without storing a result: " +
		"use other keys for ValueWith")

	// ErrKeyReused is returned if a transaction with the same IdempotencyKey and another
	// Fingerprint has committed: the key stands for another request.
	ErrKeyReused = errors.New("the idempotency key was used for a request with another fingerprint")

	errNoKeyTable = errors.New("there is no table pgtx_idempotency_keys in the search_path: " +
		"create it with IdempotencyTableSQL")
)

const (
	findTableSQL = `select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where c.oid = pg_catalog.to_regclass('pgtx_idempotency_keys')`
	claimSQL = `insert into %s (key, owner, fingerprint) values ($1, $2, $3) on conflict (key) do nothing
		returning pg_catalog.current_setting('role')`
	rowSQL = `select owner, fingerprint, result::text, pg_catalog.current_setting('synchronous_standby_names') <> ''
		from %s where key = $1`

	// The role that wrote the row stores the result, even if the function has taken another one.
	saveRoleSQL = `select pg_catalog.set_config('pgtx.role', pg_catalog.current_setting('role'), true),
		pg_catalog.set_config('role', $1, true)`
	storeSQL       = `update %s set result = $2::text::jsonb where key = $1`
	restoreRoleSQL = `select pg_catalog.set_config('role', pg_catalog.current_setting('pgtx.role'), true)`
)

// withTable puts the table of keys into sql.
func withTable(sql, table string) string { return strings.Replace(sql, "%s", table, 1) }

// claim is the row of the key that an attempt has written.
type claim struct {
	owner string
	table string
	role  string // that wrote it
}

// keyRow is what a committed transaction has left with its key.
type keyRow struct {
	owner, fingerprint string
	result             *string
	synchronous        bool // replication is synchronous on the server that has the row
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// findKeyTable returns the table's name with its schema, so that the function's search_path cannot
// lead elsewhere.
func findKeyTable(ctx context.Context, db querier) (table string, err error) {
	if err = db.QueryRow(ctx, findTableSQL, unprepared).Scan(&table); errors.Is(err, pgx.ErrNoRows) {
		err = errNoKeyTable
	}
	return table, err
}

func readKeyRow(ctx context.Context, db querier, table, key string) (*keyRow, error) {
	r := &keyRow{}
	row := db.QueryRow(ctx, withTable(rowSQL, table), unprepared, key)
	err := row.Scan(&r.owner, &r.fingerprint, &r.result, &r.synchronous)
	return r, err
}

// claimKey inserts the key's row. If it is there already, replayed is true: a transaction with the
// key has committed, and its result was read. The server waits for one that is in progress.
func (a *attempt) claimKey() (replayed bool, err error) {
	replayed, err = a.insertKey()
	var begin *PhaseError
	if err != nil && !errors.As(err, &begin) { // a failed begin says so
		err = fmt.Errorf("idempotency key: %w", err)
	}
	settings := a.opts.setAll()
	if err != nil || replayed || len(settings) == 0 {
		return replayed, err
	}
	return false, a.gate.enter(func(s *session) error {
		if err := s.control(s.ctx, joinSQL(settings)); err != nil {
			s.observe(err)
			return fmt.Errorf("settings: %w", err)
		}
		return nil
	})
}

func (a *attempt) insertKey() (replayed bool, err error) {
	var known *knowledge // a connection knows the table from the first transaction on
	err = a.gate.enter(func(s *session) error {
		if err := s.acquire(); err != nil {
			return err
		}
		known = knowledgeOf(s.conn)
		return nil
	})
	if err != nil {
		return false, err
	}
	c := &a.claim
	if c.table = known.keyTable; c.table == "" {
		if c.table, err = findKeyTable(a.ctx, &a.root); err != nil {
			return false, err
		}
		known.keyTable = c.table
	}
	c.owner = rand.Text()
	sql := withTable(claimSQL, c.table)
	err = a.root.QueryRow(a.ctx, sql, a.opts.IdempotencyKey, c.owner, a.opts.Fingerprint).Scan(&c.role)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return true, a.replayCommitted()
	case hasCode(err, "42P01", "42703"):
		known.keyTable = "" // it may have been created again elsewhere
		return false, fmt.Errorf("%w: create the table with IdempotencyTableSQL", err)
	}
	return false, err
}

// replayCommitted reads what the transaction with the key has left. If replication is synchronous,
// it makes sure that a failover will not lose that: it may be committed on this server only.
func (a *attempt) replayCommitted() error {
	row, err := readKeyRow(a.ctx, &a.root, a.claim.table, a.opts.IdempotencyKey)
	if err != nil {
		return err
	}
	if err := a.replayRow(row); err != nil || !row.synchronous {
		return err
	}
	return a.gate.enter(func(s *session) error {
		if err := s.control(s.ctx, "rollback"); err != nil {
			return err
		}
		_, err := awaitReplication(s.ctx, s.conn)
		return err
	})
}

// replayRow takes over the result of another transaction with the key.
func (a *attempt) replayRow(row *keyRow) error {
	if a.opts.Fingerprint != "" && row.fingerprint != "" && row.fingerprint != a.opts.Fingerprint {
		return ErrKeyReused
	}
	if a.opts.replay == nil {
		return nil
	}
	return a.opts.replay(row.result)
}

// storeResult stores the result of ValueWith with the key.
func (s *session) storeResult() error {
	if s.opts.result == nil || s.opts.IdempotencyKey == "" {
		return nil
	}
	text, err := s.opts.result()
	if err != nil {
		return fmt.Errorf("idempotency key: result: %w", err)
	}
	batch := &pgx.Batch{}
	batch.Queue(saveRoleSQL, s.claim.role)
	batch.Queue(withTable(storeSQL, s.claim.table), s.opts.IdempotencyKey, text)
	batch.Queue(restoreRoleSQL)
	if err := s.conn.SendBatch(s.ctx, batch).Close(); err != nil {
		s.observe(err)
		return fmt.Errorf("idempotency key: result: %w", err)
	}
	return nil
}

// askByKey tries to insert the key's row, which waits for a transaction in progress that has
// inserted it. If it can, there is no such transaction, and there will be none. It works on every
// server that has what the last one confirmed.
func (e *CommitUnknownError) askByKey(ctx context.Context, conn *pgx.Conn) (found finding, err error) {
	limited, cancel := context.WithTimeout(ctx, 2*askLimit) // askLimit for the lock
	defer cancel()
	tx, err := conn.Begin(limited)
	if err != nil {
		return finding{}, err
	}
	row, err := e.tryKey(limited, tx)
	cleanup, done := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer done()
	_ = tx.Rollback(cleanup)
	switch {
	case errors.Is(err, errNoKeyTable), hasCode(err, "42P01", "42501"):
		return finding{answer: isNever}, fmt.Errorf("%w: %w", ErrUnresolved, err)
	case err != nil:
		return finding{}, err
	case row == nil:
		return finding{answer: isAborted}, nil
	}
	if found.answer = isCommitted; row.synchronous {
		found.answer, err = awaitReplication(ctx, conn)
	}
	if e.Owner != "" && row.owner != e.Owner {
		found.row = row
	}
	return found, err
}

// tryKey inserts the key's row, or returns the row that is there.
func (e *CommitUnknownError) tryKey(ctx context.Context, tx pgx.Tx) (*keyRow, error) {
	table, err := findKeyTable(ctx, tx)
	if err != nil {
		return nil, err
	}
	if _, err = tx.Exec(ctx, "set local lock_timeout = "+milliseconds(askLimit)); err != nil {
		return nil, err
	}
	tag, err := tx.Exec(ctx, withTable(claimSQL, table), unprepared, e.Key, "", "")
	if err != nil || tag.RowsAffected() == 1 {
		return nil, err
	}
	return readKeyRow(ctx, tx, table, e.Key)
}

// forgetBatch is how many rows one statement of Forget deletes.
const forgetBatch = 1000

// Forget deletes the idempotency keys that are older than olderThan, and returns how many. It
// deletes a thousand rows at a time, each in a transaction of its own, until none is left or ctx
// ends. It skips rows that another Forget is deleting. db is a pool or a connection.
func Forget(ctx context.Context, db DB, olderThan time.Duration) (deleted int64, err error) {
	if olderThan <= 0 {
		return 0, errors.New("forget: olderThan must be positive: a key protects as long as its row is there")
	}
	table, err := findKeyTable(ctx, db)
	if err != nil {
		return 0, fmt.Errorf("forget: %w", err)
	}
	sql := fmt.Sprintf(`delete from %[1]s where key in (
		select key from %[1]s where created_at < now() - make_interval(secs => $1)
		order by created_at limit %[2]d for update skip locked)`, table, forgetBatch)
	for {
		tag, err := db.Exec(ctx, sql, unprepared, olderThan.Seconds())
		if err != nil {
			return deleted, fmt.Errorf("forget: %w", err)
		}
		if deleted += tag.RowsAffected(); tag.RowsAffected() < forgetBatch {
			return deleted, nil
		}
	}
}
