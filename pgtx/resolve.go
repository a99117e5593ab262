package pgtx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// DefaultVerifyTimeout is how long a broken COMMIT is inquired after at most. A server that is
	// up answers at once; the rest is for one that is slow, for a transaction still in progress,
	// and for a pool that has to notice dead connections.
	DefaultVerifyTimeout = 10 * time.Second

	// fenceAfter is for how long a transaction may be in progress before its backend is terminated:
	// time enough for a COMMIT that is at work, and for a server to notice a closed socket.
	fenceAfter = time.Second

	// askLimit bounds one question, so that a dead connection of the pool does not use up all the
	// time.
	askLimit = 2 * time.Second

	// askPause is the first wait between two questions, doubled up to askPauseMax.
	askPause    = 5 * time.Millisecond
	askPauseMax = 250 * time.Millisecond
)

var (
	// ErrServerChanged is returned by [CommitUnknownError.Resolve] if the server that answers is
	// not the run of the server that the transaction was in: it was restarted, has crashed, another
	// one was promoted, or its statistics were reset. Its transaction ids may mean other
	// transactions.
	ErrServerChanged = errors.New("another server, or the same after a restart or crash, whose transaction ids may mean others")

	// ErrUnresolved is returned by [CommitUnknownError.Resolve] if the outcome could not be learnt
	// for another reason than those with an error of their own.
	ErrUnresolved = errors.New("the outcome could not be learnt")
)

// Resolve finds out whether the transaction committed: err says that it could not, and then
// committed means nothing. db is a pool or a connection to the same database; in place of a
// connection that is closed or in a transaction, another one is opened with its configuration. It
// waits for an answer until ctx ends, at most [DefaultVerifyTimeout], and may be called again. A
// transaction that is still in progress after a second, and whose backend belongs to the same role,
// is ended by pg_terminate_backend, unless replication is synchronous.
//
// It needs XID and Server, or Key, which VerifyCommit and IdempotencyKey set. They are plain text:
// another process can resolve a CommitUnknownError that it makes of them. Where both are there, Key
// answers what XID cannot.
//
// The errors are [ErrServerChanged], [ErrVerifyUnsupported] and [ErrUnresolved].
func (e *CommitUnknownError) Resolve(ctx context.Context, db DB) (committed bool, err error) {
	if _, err := keyOf(db); err != nil {
		return false, fmt.Errorf("resolve: %w", err)
	}
	return e.resolve(ctx, db, DefaultVerifyTimeout)
}

func (e *CommitUnknownError) resolve(ctx context.Context, db DB, limit time.Duration) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = fmt.Errorf("resolve: %w: neither a transaction id nor a key is known; set VerifyCommit or IdempotencyKey", ErrUnresolved)
	if e.XID != "" {
		committed, err = poll(ctx, db, e.askByXID(time.Now().Add(fenceAfter)))
	}
	if err != nil && e.Key != "" {
		committed, err = poll(ctx, db, e.askByKey)
	}
	return committed, err
}

// outcome is an answer.
type outcome int

const (
	notYet outcome = iota
	isCommitted
	isAborted
	isNever
)

// poll asks on connections of db until there is a final answer or ctx ends.
func poll(ctx context.Context, db DB, ask func(context.Context, *pgx.Conn) (outcome, error)) (committed bool, err error) {
	for pause := askPause; ; pause = min(2*pause, askPauseMax) {
		answer := notYet
		asked := on(ctx, db, func(conn *pgx.Conn) (err error) {
			answer, err = ask(ctx, conn)
			return err
		})
		switch answer {
		case isCommitted, isAborted:
			return answer == isCommitted, nil
		case isNever:
			return false, fmt.Errorf("resolve: %w", asked)
		}
		if asked != nil && (err == nil || ctx.Err() == nil) {
			err = asked
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		return false, fmt.Errorf("resolve: %w in time: %w", ErrUnresolved, err)
	}
}

// on calls do with a connection to the database of db.
func on(ctx context.Context, db DB, do func(*pgx.Conn) error) error {
	if pool, ok := db.(acquirer); ok {
		limited, cancel := context.WithTimeout(ctx, askLimit)
		lease, err := pool.Acquire(limited)
		cancel()
		if err != nil {
			return err
		}
		defer lease.Release()
		return do(lease.Conn())
	}
	conn := connOf(db)
	if conn == nil {
		return fmt.Errorf("a db of type %T gives no connection: call Resolve with a pool", db)
	}
	if isIdle(conn) {
		return do(conn)
	}
	limited, cancel := context.WithTimeout(ctx, askLimit)
	conn, err := pgx.ConnectConfig(limited, conn.Config())
	cancel()
	if err != nil {
		return err
	}
	defer kill(conn)
	return do(conn)
}

// The status is not asked for if the server is another one: an id of the future is an error.
const statusSQL = `select pg_is_in_recovery(), s.server, current_setting('synchronous_standby_names') <> '',
	case when not pg_is_in_recovery() and s.server = $1 then pg_xact_status($2::text::xid8) end
	from (select ` + startSQL + ` || ' ' || ` + resetSQL + `) s (server)`

// fenceSQL ends the backend that is in the transaction. Only those of roles of which the own one is
// a member show their transaction. One that waits for a synchronous standby must not be ended: it
// would be committed, but only here.
const fenceSQL = `select pg_terminate_backend(pid) from pg_stat_activity
	where backend_xid = $1::text::xid8::xid and pid <> pg_backend_pid() and wait_event is distinct from 'SyncRep'
	and current_setting('synchronous_standby_names') = ''`

// askByXID asks for the state of the transaction's id, and fences it after a while.
func (e *CommitUnknownError) askByXID(fence time.Time) func(context.Context, *pgx.Conn) (outcome, error) {
	return func(ctx context.Context, conn *pgx.Conn) (outcome, error) {
		if e.Server == "" {
			return isNever, fmt.Errorf("%w: it is not known in which the transaction was", ErrServerChanged)
		}
		limited, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		var recovery, synchronous bool
		var server string
		var status *string
		err := conn.QueryRow(limited, statusSQL, e.Server, e.XID).Scan(&recovery, &server, &synchronous, &status)
		var pgError *pgconn.PgError
		switch {
		case errors.As(err, &pgError) && (pgError.Code == "42883" || pgError.Code == "42501" || pgError.Code == "42704"):
			return isNever, fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
		case errors.As(err, &pgError) && pgError.Code == "22023": // an id of the future
			return isNever, fmt.Errorf("%w: %w", ErrServerChanged, err)
		case err != nil:
			return notYet, err
		case recovery:
			return isNever, fmt.Errorf("%w: it is a standby", ErrServerChanged)
		case server != e.Server:
			return isNever, ErrServerChanged
		case status == nil:
			return isNever, fmt.Errorf("%w: the server has forgotten transaction %s", ErrUnresolved, e.XID)
		}
		switch *status {
		case "committed":
			if synchronous {
				return replicated(ctx, conn)
			}
			return isCommitted, nil
		case "aborted":
			return isAborted, nil
		}
		err = fmt.Errorf("transaction %s is in progress", e.XID)
		if !synchronous && time.Now().After(fence) {
			if _, refused := conn.Exec(limited, fenceSQL, e.XID); refused != nil {
				err = fmt.Errorf("%w, and cannot be ended: %w", err, refused)
			}
		}
		return notYet, err
	}
}

// replicated makes sure that what is committed on a server with synchronous replication is not on
// this server only, as after a wait for the standby that was cancelled. COMMIT of something written
// later is answered when a standby has all that came before.
func replicated(ctx context.Context, conn *pgx.Conn) (outcome, error) {
	met, err := noticed(conn, func() error {
		_, err := conn.Exec(ctx, `begin; set local synchronous_commit = on;
			select pg_logical_emit_message(true, 'pgtx', ''); commit`)
		return err
	})
	switch {
	case err != nil:
		return notYet, fmt.Errorf("committed, but perhaps not replicated: %w", err)
	case met:
		return notYet, errWarned
	}
	return isCommitted, nil
}
