package pgerr_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestStatement provokes each error with one statement after some preparation.
func TestStatement(t *testing.T) {
	t.Parallel()
	const retry, wait = true, true
	for _, test := range []struct {
		name     string
		prepare  string
		sql      string
		category pgerr.Category
		retry    bool
		wait     bool
	}{
		{
			"unique", "create table t (n int unique); insert into t values (1)", "insert into t values (1)",
			pgerr.Constraint, !retry, !wait,
		},
		{"not null", "create table t (n int not null)", "insert into t values (null)", pgerr.Constraint, !retry, !wait},
		{
			"exclusion", "create table t (r int4range, exclude using gist (r with &&)); insert into t values ('[1,5)')",
			"insert into t values ('[2,3)')", pgerr.Constraint, !retry, !wait,
		},
		{"syntax", "", "selekt 1", pgerr.Statement, !retry, !wait},
		{"no table", "", "select * from nothing", pgerr.Statement, !retry, !wait},
		{"division by zero", "", "select 1/0", pgerr.Data, !retry, !wait},
		{"overflow", "", "select 2147483647::int + 1", pgerr.Data, !retry, !wait},
		{
			"read only", "create table t (n int); set default_transaction_read_only = on", "insert into t values (1)",
			pgerr.ReadOnly, !retry, wait,
		},
		{"statement timeout", "set statement_timeout = '20ms'", "select pg_sleep(30)", pgerr.Timeout, !retry, wait},
		{"raise", "", "do $$ begin raise exception 'no'; end $$", pgerr.Raised, !retry, !wait},
		{
			"raised serialization failure", "", "do $$ begin raise exception using errcode = '40001'; end $$",
			pgerr.Serialization, retry, !wait,
		},
		{"permission", "", "do $$ begin raise insufficient_privilege; end $$", pgerr.Permission, !retry, !wait},
		{"canceled", "", "select pg_cancel_backend(pg_backend_pid()), pg_sleep(30)", pgerr.Canceled, !retry, !wait},
		{"terminated", "", "select pg_terminate_backend(pg_backend_pid()), pg_sleep(30)", pgerr.Shutdown, retry, wait},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			conn := database(t)
			if _, err := conn.Exec(t.Context(), test.prepare); err != nil {
				t.Fatal(err)
			}
			_, err := conn.Exec(t.Context(), test.sql)
			check(t, err, test.category, test.retry, test.wait)
		})
	}
}

// TestFailedTransaction: the error that follows has no opinion, so the cause decides when the two
// are joined.
func TestFailedTransaction(t *testing.T) {
	t.Parallel()
	conn := database(t)
	must(t, conn, "begin")
	_, cause := conn.Exec(t.Context(), "do $$ begin raise serialization_failure; end $$")
	_, err := conn.Exec(t.Context(), "select 1")
	check(t, err, pgerr.Statement, false, false)
	check(t, errors.Join(err, cause), pgerr.Serialization, true, false)
	check(t, errors.Join(cause, err), pgerr.Serialization, true, false)
	check(t, errors.Join(err, errors.New("close the file")), pgerr.Statement, false, false)
	check(t, errors.Join(errors.New("close the file"), err), pgerr.Statement, false, false)
	check(t, errors.Join(err, context.DeadlineExceeded), pgerr.Timeout, false, true)
}

// TestCopySource: the source of a COPY fails, which is not a timeout.
func TestCopySource(t *testing.T) {
	t.Parallel()
	conn := database(t)
	must(t, conn, "create table t (n int)")
	source := pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("no more rows") })
	_, err := conn.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"n"}, source)
	check(t, err, pgerr.Canceled, false, false)
}

// TestStaleStatement: a column is added between two runs of one statement. The third run works.
func TestStaleStatement(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			conn := database(t)
			run := func() error {
				rows, _ := conn.Query(t.Context(), "select * from t", mode)
				rows.Close()
				return rows.Err()
			}
			must(t, conn, "create table t (n int, m int)")
			check(t, run(), "", false, false)
			must(t, conn, "alter table t add column k int")
			check(t, run(), pgerr.Statement, true, false)
			check(t, run(), "", false, false)
		})
	}
}

// TestLostStatement: the server forgot a statement that pgx had prepared, as behind a pooler.
func TestLostStatement(t *testing.T) {
	t.Parallel()
	conn := database(t)
	run := func() error {
		_, err := conn.Exec(t.Context(), "select $1::int", 1)
		return err
	}
	check(t, run(), "", false, false)
	must(t, conn, "deallocate all")
	check(t, run(), pgerr.Statement, true, false)
	check(t, run(), "", false, false)
}

// TestRemote: dblink passes on codes from its connection to another server. This session survives.
func TestRemote(t *testing.T) {
	t.Parallel()
	conn := database(t)
	for code, retryable := range map[string]bool{"08001": false, "08006": true, "57P01": true, "57P03": true} {
		_, err := conn.Exec(t.Context(), "do $$ begin raise exception using errcode = '"+code+"'; end $$")
		check(t, err, pgerr.Internal, retryable, false)
	}
	must(t, conn, "select 1")
}

// TestNUL: a NUL character in the text of a statement ends the text early on the wire.
func TestNUL(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			conn := database(t)
			_, err := conn.Exec(t.Context(), "select $1::text || '\x00'", mode, "a")
			check(t, err, pgerr.Statement, false, false)
			_, err = conn.Exec(t.Context(), "select 1 \x00 + 1", mode)
			check(t, err, pgerr.Statement, false, false)
			must(t, conn, "select 1") // the connection is sound
		})
	}
}

func TestNoRows(t *testing.T) {
	t.Parallel()
	var n int
	err := database(t).QueryRow(t.Context(), "select 1 where false").Scan(&n)
	check(t, err, pgerr.NotFound, false, false)
}

// TestConcurrency provokes the errors that need two sessions.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	t.Run("serialization", func(t *testing.T) {
		t.Parallel()
		a, b := connectTwice(t)
		must(t, a, "begin isolation level repeatable read; select * from t")
		must(t, b, "update t set n = n + 1 where id = 1")
		_, err := a.Exec(t.Context(), "update t set n = n + 1 where id = 1")
		check(t, err, pgerr.Serialization, true, false)
	})
	t.Run("lock timeout", func(t *testing.T) {
		t.Parallel()
		a, b := connectTwice(t)
		must(t, a, "begin; select * from t for update")
		_, err := b.Exec(t.Context(), "select * from t for update nowait")
		check(t, err, pgerr.LockTimeout, false, false)
	})
	t.Run("deadlock", func(t *testing.T) {
		t.Parallel()
		a, b := connectTwice(t)
		must(t, a, "set deadlock_timeout = '10ms'; begin; update t set n = 1 where id = 1")
		must(t, b, "set deadlock_timeout = '60s'; begin; update t set n = 1 where id = 2")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = b.Exec(context.WithoutCancel(t.Context()), "update t set n = 1 where id = 1")
		}()
		waits := false // a looks for a deadlock once, 10 ms after it begins to wait, so b must wait by then
		for deadline := time.Now().Add(20 * time.Second); !waits && time.Now().Before(deadline); {
			row := a.QueryRow(t.Context(), "select cardinality(pg_blocking_pids($1)) > 0", b.PgConn().PID())
			if err := row.Scan(&waits); err != nil {
				t.Fatal(err)
			}
		}
		_, err := a.Exec(t.Context(), "update t set n = 1 where id = 2")
		<-done
		check(t, err, pgerr.Deadlock, true, false)
	})
}

func connectTwice(t *testing.T) (a, b *pgx.Conn) {
	t.Helper()
	url := pgserver.Database(t)
	a, b = connect(t, url), connect(t, url)
	must(t, a, "create table t (id int primary key, n int); insert into t values (1, 0), (2, 0)")
	return a, b
}

func must(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestLogin provokes refusals while connecting.
func TestLogin(t *testing.T) {
	t.Parallel()
	base := pgserver.Database(t)
	for _, test := range []struct {
		name     string
		change   func(u *url.URL, q url.Values)
		category pgerr.Category
		wait     bool
	}{
		{"no such database", func(u *url.URL, _ url.Values) { u.Path = "/nothing" }, pgerr.Config, false},
		{"no such role", func(u *url.URL, _ url.Values) { u.User = url.User("pgerr_stranger") }, pgerr.Auth, false},
		{"no such setting", func(_ *url.URL, q url.Values) { q.Set("connection_limit", "5") }, pgerr.Config, false},
		{"no number", func(_ *url.URL, q url.Values) { q.Set("statement_timeout", "soon") }, pgerr.Config, false},
		{"no option", func(_ *url.URL, q url.Values) { q.Set("options", "project=p-1") }, pgerr.Config, false},
		{
			"setting of the server", func(_ *url.URL, q url.Values) { q.Set("shared_buffers", "1GB") }, pgerr.Config,
			false,
		},
		{"template", func(u *url.URL, _ url.Values) { u.Path = "/template0" }, pgerr.Config, false},
		{
			"standby wanted", func(_ *url.URL, q url.Values) { q.Set("target_session_attrs", "standby") },
			pgerr.WrongServer, true,
		},
		{"primary wanted", func(_ *url.URL, q url.Values) {
			q.Set("target_session_attrs", "read-write")
			q.Set("default_transaction_read_only", "on")
		}, pgerr.ReadOnly, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(base)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			test.change(u, q)
			u.RawQuery = q.Encode()
			_, err = pgx.Connect(t.Context(), u.String())
			check(t, err, test.category, test.wait, test.wait)
		})
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	conn := database(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := conn.Exec(ctx, "select pg_sleep(30)")
	check(t, err, pgerr.Timeout, false, true)

	// The connection is closed now, and its error no longer names the reason.
	_, err = conn.Exec(t.Context(), "select 1")
	check(t, err, pgerr.Connection, true, true)

	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = database(t).Exec(ctx, "select 1")
	check(t, err, pgerr.Canceled, false, false)
	_, err = pgx.Connect(ctx, pgserver.Database(t))
	check(t, err, pgerr.Canceled, false, false)
}

func TestClosedPool(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	check(t, pool.Ping(t.Context()), pgerr.Canceled, false, false)
}

func TestJoined(t *testing.T) {
	t.Parallel()
	conn := database(t)
	_, unique := conn.Exec(t.Context(), "do $$ begin raise unique_violation; end $$")
	_, serialization := conn.Exec(t.Context(), "do $$ begin raise serialization_failure; end $$")
	plain := errors.New("close the file")

	check(t, errors.Join(unique, serialization), pgerr.Constraint, false, false)
	check(t, errors.Join(serialization, unique), pgerr.Serialization, false, false)
	check(t, errors.Join(plain, serialization), pgerr.Serialization, true, false)
	check(t, errors.Join(serialization, plain), pgerr.Serialization, true, false)
	check(t, errors.Join(serialization, context.Canceled), pgerr.Serialization, false, false)
	check(t, plain, pgerr.Unknown, false, false)
	check(t, nil, "", false, false)
}
