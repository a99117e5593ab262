package pgtx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// fenceAfter is how long a transaction may be in progress before its backend is terminated:
	// time enough for a COMMIT that is at work, and for a server to notice a closed socket.
	fenceAfter = time.Second

	// askLimit limits one question, so that a dead connection of the pool does not use up all the
	// time.
	askLimit = 2 * time.Second

	// askPause is the first wait between two questions, doubled up to askPauseMax.
	askPause    = 5 * time.Millisecond
	askPauseMax = 250 * time.Millisecond
)

var (
	// ErrVerifyUnsupported is returned by a transaction with VerifyCommit, and by
	// [CommitUnknownError.Resolve], on a server that does not know transaction ids as PostgreSQL 13
	// and later do: another engine that speaks its protocol, for instance.
	ErrVerifyUnsupported = errors.New("the server has no pg_current_xact_id, pg_xact_status or pg_stat_bgwriter " +
		"for this role: unset VerifyCommit, or use an IdempotencyKey")

	// ErrServerChanged is returned by [CommitUnknownError.Resolve] if the server that answers is
	// not the run of the server that the transaction was in: it was restarted, has crashed, another
	// one was promoted, or its statistics were reset. Its transaction ids may mean other
	// transactions.
	ErrServerChanged = errors.New("another server, or the same after a restart or crash, " +
		"whose transaction ids may mean others")

	// ErrUnresolved is returned by [CommitUnknownError.Resolve] if the outcome is still unknown for
	// another reason than those with an error of their own.
	ErrUnresolved = errors.New("outcome still unknown")
)

// The probe reads the transaction's id, which makes the server assign one, and when the server was
// started: another server, a promoted standby and one that was restarted have another time. After
// the crash of a single backend the server keeps its start time, and it may give the same ids
// again; that shows in when its statistics were reset. Reading those can be slow up to PostgreSQL
// 14, and they are the same for all transactions of a connection, which does not survive such a
// crash: they are read only now and then.
//
// The text of a timestamp would depend on the session's settings.
//
// The timeline is not read: it changes only when a standby is promoted, which has given no ids
// before under its start time; and pg_control_checkpoint shows it only after the next checkpoint.
const (
	startSQL   = `extract(epoch from pg_catalog.pg_postmaster_start_time())::text`
	resetSQL   = `(select coalesce(extract(epoch from stats_reset)::text, '') from pg_catalog.pg_stat_bgwriter)`
	probeSQL   = `select pg_catalog.pg_current_xact_id()::text as pgtx_xid, ` + startSQL
	lineageSQL = `select ` + startSQL + ` as pgtx_start, ` + resetSQL
)

// lineageAge limits the use of a connection's lineage. Directly connected it cannot change. Behind
// PgBouncer the server of a connection can, and everywhere somebody may reset the statistics:
// outcomes of the time until then cannot be resolved.
const lineageAge = time.Minute

// lineage identifies a run of a server.
type lineage struct {
	start, reset string
	asked        time.Time
}

// verification is what a COMMIT can be verified by.
type verification struct {
	xid     string
	started string // when the server was, as the probe saw it
	lineage *lineage
	pid     uint32 // of the backend
}

// prelude is that of the options, and the probes.
func (s *session) prelude() []string {
	statements := s.opts.prelude(s.ctx)
	if !s.opts.verifies() {
		return statements
	}
	statements = append(statements, probeSQL)
	if s.lineage = knowledgeOf(s.conn).lineage; s.lineage == nil || time.Since(s.lineage.asked) > lineageAge {
		s.lineage = nil
		statements = append(statements, lineageSQL)
	}
	return statements
}

// readProbe reads the result of a statement of the prelude, if it is one of a probe.
func (s *session) readProbe(result *pgconn.ResultReader) {
	fields := result.FieldDescriptions()
	if len(fields) != 2 {
		return
	}
	name := fields[0].Name
	for result.NextRow() {
		values := result.Values() // text
		switch name {
		case "pgtx_xid":
			s.xid, s.started = string(values[0]), string(values[1])
		case "pgtx_start":
			s.lineage = &lineage{start: string(values[0]), reset: string(values[1]), asked: time.Now()}
			knowledgeOf(s.conn).lineage = s.lineage
		}
	}
}

// probe asks on a transaction that another BeginTx has begun.
func (s *session) probe(ctx context.Context) error {
	const sql = `select p.xid, p.start, ` + resetSQL + ` from (` + probeSQL + `) p (xid, start)`
	var reset string
	err := s.raw.QueryRow(ctx, sql).Scan(&s.xid, &s.started, &reset)
	s.lineage = &lineage{start: s.started, reset: reset}
	return unsupported(err)
}

// server identifies the server's run in which the transaction got its id. It is empty if that is
// not known: behind PgBouncer the probe and the lineage of the connection may be of two.
func (v *verification) server() string {
	switch {
	case v.lineage == nil:
		return ""
	case v.lineage.start != v.started:
		v.lineage.asked = time.Time{} // the next transaction asks again
		return ""
	}
	return v.started + " " + v.lineage.reset
}

// unsupported adds ErrVerifyUnsupported to the error of a server that lacks what the probes ask
// for, or refuses it to this role.
func unsupported(err error) error {
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) || pgError.Code != "42883" && pgError.Code != "42501" {
		return err
	}
	for _, name := range []string{"pg_current_xact_id", "pg_postmaster_start_time", "pg_stat_bgwriter"} {
		if strings.Contains(pgError.Message, name) {
			return fmt.Errorf("%w: %w", ErrVerifyUnsupported, err)
		}
	}
	return err
}

// verify asks what became of a transaction whose COMMIT ended with err and without an answer.
func (s *session) verify(db DB, err error) error {
	unknown := &CommitUnknownError{Err: err, Key: s.opts.IdempotencyKey, Owner: s.token}
	if s.opts.verifies() {
		unknown.XID, unknown.Server = s.xid, s.server()
	}
	if unknown.XID == "" && unknown.Key == "" || s.opts.VerifyTimeout < 0 {
		return unknown
	}
	// The function's caller may have gone, but the answer is worth having.
	found, err := unknown.resolve(context.WithoutCancel(s.ctx), db, s.opts.verifyTimeout())
	switch {
	case err != nil:
		unknown.Unresolved = err
		return unknown
	case found.answer == isCommitted && found.row != nil:
		// Another transaction with the key has committed; ours cannot any more.
		s.dropHooks()
		if err := s.replayRow(found.row); err != nil {
			s.outcome = OutcomeRolledBack
			return err
		}
		return nil
	case found.answer == isCommitted:
		return nil
	}
	s.outcome, s.repeatable = OutcomeRolledBack, true
	return fmt.Errorf("commit: rolled back, as the server says: %w", unknown.Err)
}

// Resolve asks the server whether the transaction committed. An error says that it could not tell,
// and then committed means nothing. With a Key, committed also holds if another transaction with
// the key has committed.
//
// db is a pool or a connection to the same database; in place of a connection that is closed or in
// a transaction, another one is opened with its configuration. Resolve waits for an answer until
// ctx ends, at most 10 s, and may be called again. A transaction that is still in progress after a
// second, and whose backend belongs to the same role, is ended by pg_terminate_backend, unless
// replication is synchronous: ended while it waits for its standby, it would be committed on this
// server only. A wait for the standby that an administrator cancels leaves such a transaction too,
// and is not noticed.
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
	found, err := e.resolve(ctx, db, defaultVerifyTimeout)
	return found.answer == isCommitted, err
}

// finding is an answer.
type finding struct {
	answer answer
	row    *keyRow // of another transaction with the key, which is the one that committed
}

type answer int

const (
	notYet answer = iota
	isCommitted
	isAborted
	isNever
)

// resolve asks by the id and by the key, in turns, until one of them gives a final answer or ctx
// ends: neither waits for the other's deadline.
func (e *CommitUnknownError) resolve(ctx context.Context, db DB, limit time.Duration) (finding, error) {
	type question func(context.Context, *pgx.Conn) (finding, error)
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
	for pause := askPause; ; pause = min(2*pause, askPauseMax) {
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
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		if last == nil {
			last = context.Cause(ctx)
		}
		return finding{}, fmt.Errorf("resolve: %w in time: %w", ErrUnresolved, last)
	}
}

// askOn calls ask with a connection to the database of db.
func askOn(ctx context.Context, db DB, ask func(*pgx.Conn) error) error {
	if pool, ok := db.(acquirer); ok {
		limited, cancel := context.WithTimeout(ctx, askLimit)
		lease, err := pool.Acquire(limited)
		cancel()
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
	limited, cancel := context.WithTimeout(ctx, askLimit)
	conn, err := pgx.ConnectConfig(limited, conn.Config())
	cancel()
	if err != nil {
		return err
	}
	defer kill(conn)
	return ask(conn)
}

// The status is not read if the server is another one: an id of the future is an error.
const statusSQL = `select pg_is_in_recovery(), s.server, current_setting('synchronous_standby_names') <> '',
	case when not pg_is_in_recovery() and s.server = $1 then pg_xact_status($2::text::xid8) end
	from (select ` + startSQL + ` || ' ' || ` + resetSQL + `) s (server)`

// fenceSQL ends the backend that is in the transaction. Only those of roles of which the own one is
// a member show their transaction. One that waits for a synchronous standby must not be ended: it
// would be committed, but only here.
const fenceSQL = `select pg_terminate_backend(pid) from pg_stat_activity
	where backend_xid = $1::text::xid8::xid and pid <> pg_backend_pid() and wait_event is distinct from 'SyncRep'
	and current_setting('synchronous_standby_names') = ''`

// askByXID asks for the state of the transaction's id, and ends its backend after fence.
func (e *CommitUnknownError) askByXID(ctx context.Context, conn *pgx.Conn, fence time.Time) (answer, error) {
	if e.Server == "" {
		return isNever, fmt.Errorf("%w: the run of the server is not known in which the transaction was",
			ErrServerChanged)
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
			return awaitReplication(ctx, conn)
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

// awaitReplication makes sure that what is committed on a server with synchronous replication is
// not on this server only, as after a wait for the standby that was cut off. COMMIT of something
// written later is answered when a standby has all that came before.
func awaitReplication(ctx context.Context, conn *pgx.Conn) (answer, error) {
	_, err := conn.Exec(ctx, `begin; set local synchronous_commit = on;
		select pg_logical_emit_message(true, 'pgtx', ''); commit`)
	if err != nil {
		return notYet, fmt.Errorf("committed, but perhaps not replicated: %w", err)
	}
	return isCommitted, nil
}

// endBackendSQL ends a backend that an attempt has left behind. The process id alone would not do:
// it may have been reused, and PgBouncer makes its own up.
const endBackendSQL = `select pg_terminate_backend(pid) from pg_stat_activity
	where pid = $1 and usename = session_user and datname = current_database() and pid <> pg_backend_pid()
	and state <> 'idle' and wait_event is distinct from 'SyncRep'
	and xact_start < clock_timestamp() - $2::text::interval`

// endBackend ends the backend of an attempt that AttemptTimeout gave up, so that its locks do not
// hold up the next one. It is a courtesy: errors have no consequence, and it waits at most askLimit
// in all.
func (s *session) endBackend(ctx context.Context, db DB) {
	if s.pid == 0 || s.pool == nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	// The transaction is at least about as old as the attempt; half leaves room for its acquire.
	age := milliseconds(s.opts.AttemptTimeout/2) + "ms"
	_ = askOn(limited, db, func(conn *pgx.Conn) error {
		_, err := conn.Exec(limited, endBackendSQL, int64(s.pid), age)
		return err
	})
}
