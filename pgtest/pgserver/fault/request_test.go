package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// committers end a transaction in the ways that the protocol has.
var committers = map[string]func(ctx context.Context, conn *pgconn.PgConn) error{
	"simple": func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "commit").Close()
	},
	"in a text of several statements": func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "select 'commit;'; -- commit;\nCOMMIT and no chain; select 2").Close()
	},
	"extended": func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := conn.ExecParams(ctx, "/* the */ end transaction", nil, nil, nil, nil).Close()
		return err
	},
	"prepared": func(ctx context.Context, conn *pgconn.PgConn) error {
		if _, err := conn.Prepare(ctx, "done", "commit", nil); err != nil {
			return errors.Join(errBefore, err)
		}
		_, err := conn.ExecPrepared(ctx, "done", nil, nil, nil).Close()
		return err
	},
	"in one flush with other messages": func(ctx context.Context, conn *pgconn.PgConn) error {
		pipeline := conn.StartPipeline(ctx)
		pipeline.SendQueryParams("select 1", nil, nil, nil, nil)
		pipeline.SendPipelineSync()
		pipeline.SendQueryParams("select 2", nil, nil, nil, nil)
		pipeline.SendQueryParams("commit", nil, nil, nil, nil)
		pipeline.SendPipelineSync()
		pipeline.SendQueryParams("select 3", nil, nil, nil, nil)
		pipeline.SendPipelineSync()
		return errors.Join(pipeline.Flush(), pipeline.Close())
	},
}

var errBefore = errors.New("an error before COMMIT")

func TestCutCommits(t *testing.T) {
	t.Parallel()
	for where, want := range map[fault.Cut]struct {
		name              string
		committed, broken bool // broken: the client sees an error
	}{
		fault.Pass:          {"pass", true, false},
		fault.BeforeRequest: {"before the request", false, true},
		fault.InRequest:     {"in the request", false, true},
		fault.BeforeAnswer:  {"before the answer", true, true},
		fault.InAnswer:      {"in the answer", true, true},
	} {
		for name, commit := range committers {
			t.Run(want.name+", "+name, func(t *testing.T) {
				t.Parallel()
				direct, p := through(t, fault.Options{})
				conn := connect(t, p.URL())
				execute(t, conn, "begin", "insert into notes values (1)")
				p.CutCommits(1, where)
				err := commit(t.Context(), conn.PgConn())
				if (err != nil) != want.broken || errors.Is(err, errBefore) {
					t.Errorf("error is %v", err)
				}
				if err := conn.Ping(t.Context()); (err == nil) != (where == fault.Pass) {
					t.Errorf("afterwards: %v", err)
				}
				other := connect(t, direct)
				eventually(t, other, "select not exists (select from pg_stat_activity "+
					"where datname = current_database() and state like 'idle in transaction%')")
				if n := scan[int](t, other, "select count(*) from notes"); n == 1 != want.committed {
					t.Errorf("%d rows", n)
				}
				if n := p.Stats().Commits; n != 1 {
					t.Errorf("met %d COMMITs, want 1", n)
				}
				// The next one passes.
				conn = connect(t, p.URL())
				execute(t, conn, "begin", "insert into notes values (2)", "commit")
			})
		}
	}
}

// Held requests and answers leave the connection open until the client gives up.
func TestHold(t *testing.T) {
	t.Parallel()
	for where, committed := range map[fault.Cut]bool{fault.HoldRequest: false, fault.HoldAnswer: true} {
		for name, commit := range committers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				direct, p := through(t, fault.Options{})
				conn, other := connect(t, p.URL()), connect(t, direct)
				execute(t, conn, "begin", "insert into notes values (1)")
				p.CutCommits(-1, where)
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				answered := make(chan error, 1)
				go func() { answered <- commit(ctx, conn.PgConn()) }()
				if committed {
					eventually(t, other, "select count(*) = 1 from notes")
				}
				silent(t, answered)
				if n := scan[int](t, other, "select count(*) from notes"); n == 1 != committed {
					t.Errorf("%d rows", n)
				}
				giveUp()
				if err := soon(t, answered); err == nil {
					t.Error("answered")
				}
				until(t, "the session to end", func() bool { return p.Stats().Open == 0 })
			})
		}
	}
}

// The client of an abandoned connection sees the end of it, and the server does not: it works on,
// and a cancel request does not reach it.
func TestAbandon(t *testing.T) {
	t.Parallel()
	for where, state := range map[fault.Cut]string{
		fault.AbandonRequest: "idle in transaction", fault.AbandonAnswer: "active",
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			direct, p := through(t, fault.Options{})
			conn, other := connect(t, p.URL()), connect(t, direct)
			pid := conn.PgConn().PID()
			execute(t, other, "select pg_advisory_lock(1)")
			execute(t, conn, "begin", "insert into notes values (1)")
			p.OnRequest(func(r fault.Request) fault.Cut {
				if r.PID != pid {
					return fault.Pass
				}
				return where
			})
			answered := make(chan error, 1)
			go func() {
				_, err := conn.Exec(t.Context(), "select pg_advisory_xact_lock($1)", 1)
				answered <- err
			}()
			if err := soon(t, answered); err == nil {
				t.Error("answered")
			}
			<-conn.PgConn().CleanupDone() // pgx has sent a cancel request
			if n := p.Stats().Cancels; n != 1 {
				t.Errorf("met %d cancel requests, want 1", n)
			}
			session := fmt.Sprintf("from pg_stat_activity where pid = %d", pid)
			eventually(t, other, "select exists (select "+session+" and state = '"+state+"')")
			if err := connect(t, p.URL()).PgConn().CancelRequest(t.Context()); err != nil {
				t.Errorf("cancel request for another connection: %v", err)
			}
			execute(t, other, "select pg_advisory_unlock(1)")
			eventually(t, other, "select exists (select "+session+" and state = 'idle in transaction')")
			p.Sever()
			eventually(t, other, "select not exists (select "+session+")")
		})
	}
}

// A transaction that the server does not commit is not said to be: the client gets the answer, and
// the cut waits for the next one.
func TestRefusedCommit(t *testing.T) {
	t.Parallel()
	refusals := map[string]struct{ sql, code string }{
		"deferred constraint": {"insert into links values (99)", "23503"},
		"failed transaction":  {"select 1/0", ""}, // COMMIT is a ROLLBACK, and no error
	}
	for _, where := range []fault.Cut{fault.BeforeAnswer, fault.InAnswer, fault.HoldAnswer} {
		for name, tt := range refusals {
			for how, commit := range committers {
				t.Run(name+", "+how, func(t *testing.T) {
					t.Parallel()
					direct, p := through(t, fault.Options{})
					execute(t, connect(t, direct),
						"create table links (id int references notes deferrable initially deferred)")
					conn := connect(t, p.URL())
					execute(t, conn, "begin")
					_, _ = conn.Exec(t.Context(), tt.sql)
					p.CutCommits(1, where)
					if tt.code == "" && how != "simple" { // nothing but the end is allowed
						commit = committers["simple"]
					}
					err := commit(t.Context(), conn.PgConn())
					var refused *pgconn.PgError
					errors.As(err, &refused)
					if err != nil && refused == nil || refused != nil && refused.Code != tt.code ||
						tt.code != "" && err == nil {
						t.Errorf("error is %v, want %q", err, tt.code)
					}
					execute(t, conn, "select 1", "begin", "insert into notes values (1)")
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if where == fault.HoldAnswer {
						cancel()
					}
					_, err = conn.Exec(ctx, "commit")
					if err == nil {
						t.Error("the next COMMIT is not cut")
					}
				})
			}
		}
	}
}

// What is COMMIT and what only looks like it.
func TestCommitsAreRecognized(t *testing.T) {
	t.Parallel()
	direct, p := through(t, fault.Options{})
	execute(t, connect(t, direct), "create table texts (e text)")
	for sql, want := range map[string]int{
		"commit":                   1,
		" \n\tCoMmIt;":             1,
		"end":                      1,
		"end work; select 1":       1,
		"/* a */ /* b */ end":      1,
		"-- a comment\ncommit":     1,
		"begin;commit":             1,
		"begin; end":               1,
		"":                         0,
		";":                        0,
		"begin":                    0,
		"rollback":                 0,
		"select 1 as commit":       0,
		"select 'a'';commit;'":     0,
		`select e'\';commit;'`:     0,
		`select 1 as ";commit;"`:   0,
		"select 1 -- ;commit":      0,
		"select 1 /* ;commit; */":  0,
		"select $$;commit;$$":      0,
		"select $a$;$$;commit;$a$": 0,
		"do $$ begin null; end $$": 0,
		"do $do$ begin; end $do$":  0,
		"select 1 as a$b; end":     1,
		"select case when true then 1 end; select 2":                  0,
		"create table if not exists begin_atomic (n int); begin; end": 1,
		"create or replace function one() returns int language sql " +
			"begin atomic select case when true then 1 end; end": 0,
		"create or replace function two() returns int language sql " +
			"begin atomic select case when true then 1 end; end; commit": 1,
		"create or replace procedure three() language sql begin atomic select 1; select 2; end": 0,
	} {
		conn := connect(t, p.URL())
		before := p.Stats().Commits
		_, _ = conn.PgConn().Exec(t.Context(), sql).ReadAll() // "do $do$ begin; end" is an error, and no COMMIT
		if got := p.Stats().Commits - before; got != want {
			t.Errorf("%q: met %d, want %d", sql, got, want)
		}
	}
}

// A request is cut by its text or its session, and its answer whatever that says.
func TestOnRequest(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{Unix: true})
	first, second := connect(t, p.URL()), connect(t, p.URL())
	execute(t, first, "begin")
	execute(t, second, "begin")
	var seen []fault.Request
	p.OnRequest(func(r fault.Request) fault.Cut {
		seen = append(seen, r)
		if r.PID == first.PgConn().PID() && r.Commit {
			return fault.BeforeAnswer
		}
		return fault.Pass
	})
	execute(t, second, "commit")
	if _, err := first.Exec(t.Context(), "commit"); err == nil {
		t.Error("the first session's COMMIT is not cut")
	}
	want := fault.Request{PID: second.PgConn().PID(), SQL: "commit", Commit: true}
	if len(seen) != 2 || seen[0] != want {
		t.Errorf("%+v", seen)
	}

	p.OnRequest(func(r fault.Request) fault.Cut {
		if r.SQL == "select 1/$1::int" {
			return fault.BeforeAnswer
		}
		return fault.Pass
	})
	var failed *pgconn.PgError
	if _, err := second.Exec(t.Context(), "select 1/$1::int", 0); err == nil || errors.As(err, &failed) {
		t.Errorf("error is %v, want a broken connection and not the server's", err)
	}
	p.Heal()
	third := connect(t, p.URL())
	if _, err := third.Exec(t.Context(), "select 1/$1::int", 0); !errors.As(err, &failed) {
		t.Errorf("healed: %v", err)
	}
}

// A request has what the client sent, in every mode.
func TestRequest(t *testing.T) {
	t.Parallel()
	_, p := through(t, fault.Options{})
	requests := make(chan fault.Request, 10)
	conn := connect(t, p.URL())
	p.OnRequest(func(r fault.Request) fault.Cut { requests <- r; return fault.Pass })
	const sql = "select $1::int"
	for mode, want := range map[pgx.QueryExecMode]string{
		pgx.QueryExecModeSimpleProtocol: "select  '7' ::int", pgx.QueryExecModeExec: sql,
		pgx.QueryExecModeCacheStatement: sql,
	} {
		if _, err := conn.Exec(t.Context(), sql, mode, 7); err != nil {
			t.Fatal(err)
		}
		if got := soon(t, requests); got != (fault.Request{PID: conn.PgConn().PID(), SQL: want}) {
			t.Errorf("%s: %+v, want %q", mode, got, want)
		}
	}
}

func TestRawCannotCut(t *testing.T) {
	t.Parallel()
	for _, use := range []func(*fault.Proxy){
		func(p *fault.Proxy) { p.CutCommits(1, fault.BeforeAnswer) },
		func(p *fault.Proxy) { p.OnRequest(nil) },
	} {
		r := &recorder{T: t}
		r.run(func() { use(fault.NewProxy(r, "postgres://app@127.0.0.1:1/app", fault.Options{Raw: true})) })
		r.failed(t, "fault: a raw proxy does not see requests")
	}
}
