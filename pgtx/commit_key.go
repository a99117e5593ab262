package pgtx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// IdempotencyTableSQL creates the table that Options.IdempotencyKey needs: put it into a migration.
// Its name is looked up in the search_path that a connection starts with, before Settings apply. A
// role that runs transactions with keys needs SELECT, INSERT and UPDATE on it, and DELETE for
// [Forget].
//
// A key protects for as long as its row is there. Delete the rows that are older than any client
// may repeat its request with [Forget].
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
	// ErrNoResult is returned by [ValueWith] if a transaction with the same key has committed, but
	// left no result: ValueWith did not run it.
	ErrNoResult = errors.New("a transaction with this idempotency key has committed without storing a result: " +
		"use keys of their own for ValueWith")

	// ErrKeyReused is returned if a transaction with the same IdempotencyKey and another
	// Fingerprint has committed: the key stands for another request.
	ErrKeyReused = errors.New("the idempotency key was used for a request with another fingerprint")
)

// keyRow is what a transaction that committed has left with its key.
type keyRow struct {
	owner, fingerprint string
	result             *string
}

const (
	findTableSQL = `select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where c.oid = pg_catalog.to_regclass('pgtx_idempotency_keys')`
	claimSQL = `insert into %s (key, owner, fingerprint) values ($1, $2, $3) on conflict (key) do nothing
		returning pg_catalog.current_setting('role')`
	rowSQL = `select owner, fingerprint, result::text from %s where key = $1`

	// The result is stored as the role that wrote the row, whatever role the function has taken.
	saveRoleSQL = `select pg_catalog.set_config('pgtx.role', pg_catalog.current_setting('role'), true),
		pg_catalog.set_config('role', $1, true)`
	storeSQL       = `update %s set result = $2::text::jsonb where key = $1`
	restoreRoleSQL = `select pg_catalog.set_config('role', pg_catalog.current_setting('pgtx.role'), true)`
)

// withTable puts the table of keys into sql.
func withTable(sql, table string) string { return strings.Replace(sql, "%s", table, 1) }

// findKeyTable returns the table's name with its schema, so that a search_path of the function
// cannot lead elsewhere. It is looked up once for each connection.
func findKeyTable(ctx context.Context, db querier, conn *pgx.Conn) (string, error) {
	var known *knowledge
	if conn != nil {
		if known = knowledgeOf(conn); known.keyTable != "" {
			return known.keyTable, nil
		}
	}
	var table string
	err := db.QueryRow(ctx, findTableSQL).Scan(&table)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNoKeyTable
	}
	if err == nil && known != nil {
		known.keyTable = table
	}
	return table, err
}

var errNoKeyTable = errors.New("there is no table pgtx_idempotency_keys in the search_path: " +
	"create it with IdempotencyTableSQL")

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// claimKey inserts the key's row. If it is there, replayed is set: a transaction with the key has
// committed, and its result was read. The server waits for one that is still in progress.
func (s *session) claimKey() (replayed bool, err error) {
	ctx := s.ctx
	if s.keyTable, err = s.prepareClaim(ctx); err != nil {
		return false, err
	}
	s.token = rand.Text()
	sql := withTable(claimSQL, s.keyTable)
	err = s.root.QueryRow(ctx, sql, s.opts.IdempotencyKey, s.token, s.opts.Fingerprint).Scan(&s.keyRole)
	var pgError *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return true, s.replayCommitted(ctx)
	case s.state == stateRefused:
		return false, err // of the begin, and says so
	case errors.As(err, &pgError) && (pgError.Code == "42P01" || pgError.Code == "42703"):
		if s.conn != nil {
			knowledgeOf(s.conn).keyTable = "" // it may have been created again elsewhere
		}
		return false, fmt.Errorf("idempotency key: %w: create the table with IdempotencyTableSQL", err)
	case err != nil:
		return false, fmt.Errorf("idempotency key: %w", err)
	}
	if settings := s.opts.setAll(); len(settings) > 0 {
		if err := s.control(ctx, joinSQL(settings)); err != nil {
			s.observe(err)
			return false, fmt.Errorf("settings: %w", err)
		}
	}
	return false, nil
}

// prepareClaim finds the table. On a connection that does not know it, BEGIN goes first.
func (s *session) prepareClaim(ctx context.Context) (table string, err error) {
	if s.raw == nil {
		if err := s.acquire(); err != nil {
			return "", err
		}
	}
	if s.conn != nil {
		if known := knowledgeOf(s.conn).keyTable; known != "" {
			return known, nil
		}
	}
	if table, err = findKeyTable(ctx, &s.root, s.conn); err != nil && s.state != stateRefused {
		err = fmt.Errorf("idempotency key: %w", err)
	}
	return table, err
}

// replayCommitted reads what the transaction with the key has left.
func (s *session) replayCommitted(ctx context.Context) error {
	row, err := readKeyRow(ctx, &s.root, s.keyTable, s.opts.IdempotencyKey)
	if err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	if err := s.replayRow(row); err != nil {
		return err
	}
	return s.awaitOther(ctx)
}

func readKeyRow(ctx context.Context, db querier, table, key string) (*keyRow, error) {
	row := &keyRow{}
	err := db.QueryRow(ctx, withTable(rowSQL, table), key).Scan(&row.owner, &row.fingerprint, &row.result)
	return row, err
}

// replayRow makes the result of another transaction with the key this one's.
func (s *session) replayRow(row *keyRow) error {
	if s.opts.Fingerprint != "" && row.fingerprint != "" && row.fingerprint != s.opts.Fingerprint {
		return fmt.Errorf("idempotency key: %w", ErrKeyReused)
	}
	if s.opts.replay == nil {
		return nil
	}
	if err := s.opts.replay(row.result); err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	return nil
}

// awaitOther makes sure, where replication is synchronous, that the row of another transaction with
// the key will not be lost by a failover: it may have been committed on this server only.
func (s *session) awaitOther(ctx context.Context) error {
	var sync bool
	err := s.root.QueryRow(ctx, `select current_setting('synchronous_standby_names') <> ''`).Scan(&sync)
	if err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	if !sync || s.conn == nil {
		return nil
	}
	if err := s.control(ctx, "rollback"); err != nil {
		return fmt.Errorf("idempotency key: %w", err)
	}
	if answer, err := awaitReplication(ctx, s.conn); answer != isCommitted {
		return fmt.Errorf("idempotency key: %w", err)
	}
	return nil
}

// storeResult keeps the result of ValueWith with the key. The handles are shut by now.
func (s *session) storeResult() error {
	if s.opts.result == nil || s.opts.IdempotencyKey == "" {
		return nil
	}
	text, err := s.opts.result()
	if err != nil {
		return fmt.Errorf("idempotency key: result: %w", err)
	}
	batch := &pgx.Batch{}
	batch.Queue(saveRoleSQL, s.keyRole)
	batch.Queue(withTable(storeSQL, s.keyTable), s.opts.IdempotencyKey, text)
	batch.Queue(restoreRoleSQL)
	if err := s.queries().SendBatch(s.ctx, batch).Close(); err != nil {
		s.observe(err)
		return fmt.Errorf("idempotency key: result: %w", err)
	}
	return nil
}

// askByKey looks for the key's row by trying to insert it, which waits for a transaction in
// progress that has: without a row afterwards there will be none. It works on any server that has
// what the last one confirmed.
func (e *CommitUnknownError) askByKey(ctx context.Context, conn *pgx.Conn) (found finding, err error) {
	limited, cancel := context.WithTimeout(ctx, 2*askLimit) // askLimit for the lock
	defer cancel()
	tx, err := conn.Begin(limited)
	if err != nil {
		return finding{}, err
	}
	found, sync, err := e.askInside(limited, tx)
	cleanup, done := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer done()
	_ = tx.Rollback(cleanup)
	var pgError *pgconn.PgError
	switch {
	case errors.Is(err, errNoKeyTable),
		errors.As(err, &pgError) && (pgError.Code == "42P01" || pgError.Code == "42501"):
		return finding{answer: isNever}, fmt.Errorf("%w: %w", ErrUnresolved, err)
	case err != nil:
		return finding{}, err
	case sync && found.answer == isCommitted:
		found.answer, err = awaitReplication(ctx, conn)
	}
	return found, err
}

func (e *CommitUnknownError) askInside(ctx context.Context, tx pgx.Tx) (found finding, sync bool, err error) {
	table, err := findKeyTable(ctx, tx, tx.Conn())
	if err != nil {
		return found, false, err
	}
	if _, err = tx.Exec(ctx, "set local lock_timeout = "+milliseconds(askLimit)); err != nil {
		return found, false, err
	}
	tag, err := tx.Exec(ctx, withTable(claimSQL, table), e.Key, "", "")
	if err != nil || tag.RowsAffected() == 1 {
		return finding{answer: isAborted}, false, err
	}
	row, err := readKeyRow(ctx, tx, table, e.Key)
	if err == nil {
		err = tx.QueryRow(ctx, `select current_setting('synchronous_standby_names') <> ''`).Scan(&sync)
	}
	if err != nil {
		return finding{}, false, err
	}
	found.answer = isCommitted
	if e.Owner != "" && row.owner != e.Owner {
		found.row = row
	}
	return found, sync, nil
}

// forgetBatch is how many rows one statement of Forget deletes.
const forgetBatch = 1000

// Forget deletes the idempotency keys that are older than olderThan, and returns how many there
// were. It deletes a thousand rows at a time, each in a transaction of its own, until none is left
// or ctx ends; rows that another Forget is deleting are passed over. db is a pool or a connection.
func Forget(ctx context.Context, db DB, olderThan time.Duration) (deleted int64, err error) {
	if olderThan <= 0 {
		return 0, errors.New("forget: olderThan must be positive: a key protects for as long as its row is there")
	}
	table, err := findKeyTable(ctx, db, nil)
	if err != nil {
		return 0, fmt.Errorf("forget: %w", err)
	}
	sql := fmt.Sprintf(`delete from %[1]s where key in (
		select key from %[1]s where created_at < now() - $1::text::interval
		order by created_at limit %[2]d for update skip locked)`, table, forgetBatch)
	for {
		tag, err := db.Exec(ctx, sql, milliseconds(olderThan)+"ms")
		if err != nil {
			return deleted, fmt.Errorf("forget: %w", err)
		}
		if deleted += tag.RowsAffected(); tag.RowsAffected() < forgetBatch {
			return deleted, nil
		}
	}
}
