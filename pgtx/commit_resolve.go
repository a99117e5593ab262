package pgtx

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// fenceAfter is how long a transaction may be in progress before its backend is terminated. It
	// leaves time for a COMMIT at work, and for a server to notice a closed socket.
	fenceAfter = time.Second

	// askLimit limits one question, so that one dead connection of the pool does not use up all the
	// time.
	askLimit = 2 * time.Second

	// askPause is the first wait between two questions. It doubles up to askPauseMax.
	askPause    = 5 * time.Millisecond
	askPauseMax = 250 * time.Millisecond

	// unprepared is the mode for statements that are rare: they leave nothing behind on the server,
	// and work behind every pooler.
	unprepared = pgx.QueryExecModeExec
)

// Resolve asks the server whether the transaction committed. With a Key, committed is also true if
// another transaction with the key has committed. An error says that the server could not tell, and
// then committed means nothing.
//
// Resolve waits for an answer until ctx ends, at most 10 s, and may be called again. db is a pool
// or a connection to the same database. If it is a connection that is closed or in a transaction,
// Resolve opens another with its configuration.
//
// It needs XID and Server, or Key, which VerifyCommit and IdempotencyKey set. They are plain text,
// so another process can resolve a CommitUnknownError that it makes of them. Key can answer where
// XID cannot.
//
// If the transaction is still in progress after a second, and its backend belongs to the same role,
// Resolve ends it by pg_terminate_backend; but not if replication is synchronous, because a
// transaction that is ended while it waits for its standby is committed on this server only. If an
// administrator cancels such a wait, the same happens, and Resolve does not notice.
//
// The errors are [ErrServerChanged], [ErrVerifyUnsupported] and [ErrUnresolved].
func (e *CommitUnknownError) Resolve(ctx context.Context, db DB) (committed bool, err error) {
	if _, err := keyOf(db); err != nil {
		return false, fmt.Errorf("resolve: %w", err)
	}
	found, err := e.resolve(ctx, db, defaultVerifyTimeout)
	return found.answer == isCommitted, err
}

// finding is the answer to a question.
type finding struct {
	answer answer
	row    *keyRow // set if another transaction with the key committed
}

type answer int

const (
	notYet answer = iota
	isCommitted
	isAborted
	isNever
)

type question func(context.Context, *pgx.Conn) (finding, error)

// resolve asks by the id and by the key, in turns, until one of them gives a final answer or ctx
// ends. Neither waits for the other's deadline.
func (e *CommitUnknownError) resolve(ctx context.Context, db DB, limit time.Duration) (finding, error) {
	var questions []question
	if e.XID != "" {
		fence := time.Now().Add(fenceAfter)
		questions = append(questions, func(ctx context.Context, conn *pgx.Conn) (finding, error) {
			answer, err := e.askByXID(ctx, conn, fence)
			return finding{answer: answer}, err
		})
	}
	if e.Key != "" {
		questions = append(questions, e.askByKey)
	}
	if len(questions) == 0 {
		return finding{}, fmt.Errorf("resolve: %w: neither a transaction id nor a key is known; "+
			"set VerifyCommit or IdempotencyKey", ErrUnresolved)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for wait := askPause; ; wait = min(2*wait, askPauseMax) {
		var open []question
		for _, ask := range questions {
			var found finding
			err := askOn(ctx, db, func(conn *pgx.Conn) (err error) {
				found, err = ask(ctx, conn)
				return err
			})
			switch found.answer {
			case isCommitted, isAborted:
				return found, nil
			case notYet:
				open = append(open, ask)
			}
			if err != nil && (last == nil || ctx.Err() == nil) {
				last = err
			}
		}
		if questions = open; len(questions) == 0 {
			return finding{}, fmt.Errorf("resolve: %w", last)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if last == nil {
				last = context.Cause(ctx)
			}
			return finding{}, fmt.Errorf("resolve: %w in time: %w", ErrUnresolved, last)
		}
	}
}

// askOn calls ask with a connection to the database of db.
func askOn(ctx context.Context, db DB, ask func(*pgx.Conn) error) error {
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if pool, ok := db.(acquirer); ok {
		lease, err := pool.Acquire(limited)
		if err != nil {
			return err
		}
		defer lease.Release()
		return ask(lease.Conn())
	}
	conn := connOf(db)
	if conn == nil {
		return fmt.Errorf("a db of type %T gives no connection: call Resolve with a pool", db)
	}
	if !conn.IsClosed() && conn.PgConn().TxStatus() == 'I' {
		return ask(conn)
	}
	conn, err := pgx.ConnectConfig(limited, conn.Config())
	if err != nil {
		return err
	}
	defer kill(conn)
	return ask(conn)
}

// statusSQL reads the status only on the server of the transaction: an id of the future is an
// error.
const statusSQL = `select pg_is_in_recovery(), s.server, current_setting('synchronous_standby_names') <> '',
	case when not pg_is_in_recovery() and s.server = $1 then pg_xact_status($2::text::xid8) end
	from (select ` + serverSQL + `) s (server)`

// fenceSQL ends the backend that is in the transaction. It sees only backends of roles of which its
// own role is a member. A backend that waits for a synchronous standby must not be ended: its
// transaction would be committed on this server only.
const fenceSQL = `select pg_terminate_backend(pid) from pg_stat_activity
	where backend_xid = $1::text::xid8::xid and pid <> pg_backend_pid() and wait_event is distinct from 'SyncRep'
	and current_setting('synchronous_standby_names') = ''`

// askByXID asks for the status of the transaction, and ends its backend after fence.
func (e *CommitUnknownError) askByXID(ctx context.Context, conn *pgx.Conn, fence time.Time) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var recovery, synchronous bool
	var server string
	var status *string
	row := conn.QueryRow(limited, statusSQL, unprepared, e.Server, e.XID)
	err := row.Scan(&recovery, &server, &synchronous, &status)
	switch {
	case hasCode(err, "42883", "42501", "42704"):
		return isNever, fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
	case hasCode(err, "22023"): // an id of the future
		return isNever, fmt.Errorf("%w: %w", ErrServerChanged, err)
	case err != nil:
		return notYet, err
	case recovery:
		return isNever, fmt.Errorf("%w: it is a standby", ErrServerChanged)
	case server != e.Server:
		return isNever, ErrServerChanged
	case status == nil:
		return isNever, fmt.Errorf("%w: the server has forgotten transaction %s", ErrUnresolved, e.XID)
	case *status == "committed" && synchronous:
		return awaitReplication(ctx, conn)
	case *status == "committed":
		return isCommitted, nil
	case *status == "aborted":
		return isAborted, nil
	}
	err = fmt.Errorf("transaction %s is in progress", e.XID)
	if !synchronous && time.Now().After(fence) {
		if _, refused := conn.Exec(limited, fenceSQL, unprepared, e.XID); refused != nil {
			err = fmt.Errorf("%w, and cannot be ended: %w", err, refused)
		}
	}
	return notYet, err
}

// awaitReplication waits until a transaction that is committed here is on a standby too, where
// replication is synchronous. After a wait for the standby that was cut off, it may be on this
// server only. COMMIT of something written later is answered when a standby has all that came
// before.
func awaitReplication(ctx context.Context, conn *pgx.Conn) (answer, error) {
	_, err := conn.Exec(ctx, `begin; set local synchronous_commit = on;
		select pg_logical_emit_message(true, 'pgtx', ''); commit`)
	if err != nil {
		return notYet, fmt.Errorf("committed, but perhaps not replicated: %w", err)
	}
	return isCommitted, nil
}
