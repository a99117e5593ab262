package pgtx_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func ended(r *run, err marks) string { return fmt.Sprintf("%d: %s", r.id, err) }

func called(what string, hook step) string { return fmt.Sprintf("%s %d", what, hook.id) }

// TestRandomPrograms compares random programs of nested runs with a model. PGTX_PROGRAMS sets how
// many.
//
// It is not parallel: it looks for goroutines that a program left.
func TestRandomPrograms(t *testing.T) { //nolint:paralleltest // see above
	if n := os.Getenv("PGTX_PROGRAMS"); n != "" {
		if err := flag.Set("rapid.checks", n); err != nil {
			t.Fatalf("PGTX_PROGRAMS: %v", err)
		}
	}
	var pools [2]*pgxpool.Pool
	for db := range pools {
		b := setup(t)
		pools[db] = b.pool
		if _, err := b.pool.Exec(t.Context(), `create table marks (id int not null)`); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		program := drawRun(t, 0)
		program.number(new(int))
		// pgx keeps a reader on a connection on which a write was slow, until the server says
		// something.
		before := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead")}
		m := &model{met: map[int]bool{}}
		m.run(program, nil, nil)
		got := execute(t, pools, program)
		for db := range pools {
			slices.Sort(m.tables[db])
			if !slices.Equal(got.tables[db], m.tables[db]) {
				t.Errorf("database %d holds %v, want %v", db, got.tables[db], m.tables[db])
			}
		}
		if !slices.Equal(got.hooks, m.hooks) {
			t.Errorf("hooks called:\n%q, want\n%q", got.hooks, m.hooks)
		}
		if !slices.Equal(got.ends, m.ends) {
			t.Errorf("runs returned:\n%q, want\n%q", got.ends, m.ends)
		}
		for limit := time.Now().Add(20 * time.Second); ; { // pgx closes a broken connection within 15 s
			err := goleak.Find(before...)
			if err != nil && time.Now().After(limit) {
				t.Error(err)
			}
			if err == nil || time.Now().After(limit) {
				break
			}
		}
		if t.Failed() {
			t.Logf("the program:\n%s", program)
		}
	})
}

// execution is a program under way.
type execution struct {
	history
	pools [2]*pgxpool.Pool
	met   map[int]bool
}

// execute runs program and reads what it left.
func execute(t *rapid.T, pools [2]*pgxpool.Pool, program *run) history {
	e := &execution{pools: pools, met: map[int]bool{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan any)
	go func() { // which Goexit ends
		defer func() {
			what := recover()
			done <- what
		}()
		_ = e.run(ctx, program, nil)
	}()
	if what := <-done; what != nil && what != errBusiness {
		t.Fatalf("panic: %v", what)
	}
	if ctx.Err() != nil {
		t.Fatal("the program did not end in time")
	}
	for db, pool := range pools {
		// pgx closes a broken connection within 15 s.
		for limit := time.Now().Add(20 * time.Second); pool.Stat().AcquiredConns() != 0; {
			if time.Now().After(limit) {
				t.Fatalf("database %d: %d connections are still acquired", db, pool.Stat().AcquiredConns())
			}
			time.Sleep(time.Millisecond)
		}
		rows, err := pool.Query(ctx, `delete from marks returning id`)
		if err != nil {
			t.Fatal(err)
		}
		if e.tables[db], err = pgx.CollectRows(rows, pgx.RowTo[int]); err != nil {
			t.Fatal(err)
		}
		slices.Sort(e.tables[db])
	}
	return e.history
}

// run calls RunWith for r. cancels are those of the runs around it, innermost last.
func (e *execution) run(ctx context.Context, r *run, cancels []context.CancelFunc) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cancels = append(slices.Clone(cancels), cancel)
	var db pgtx.DB = e.pools[r.db]
	if tx, ok := pgtx.From(ctx, db); ok && r.onTx {
		db = tx
	}
	err := pgtx.RunWith(ctx, db, pgtx.Options{Nesting: r.nesting, Eager: r.eager},
		func(ctx context.Context, tx pgx.Tx) error {
			for _, s := range r.steps {
				if s.action == leave {
					return e.leave(ctx, tx)
				}
				if err := e.step(ctx, tx, r, s, cancels); err != nil && !s.swallow {
					return err
				}
			}
			switch r.end {
			case fails:
				return errBusiness
			case panics:
				panic(errBusiness)
			case exits:
				runtime.Goexit()
			}
			return nil
		})
	e.ends = append(e.ends, ended(r, marksOf(err)))
	return err
}

func (e *execution) leave(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select generate_series(1, 3)`)
	if err != nil {
		return err
	}
	if !rows.Next() {
		return rows.Err()
	}
	return nil
}

func (e *execution) step(ctx context.Context, tx pgx.Tx, r *run, s step, cancels []context.CancelFunc) (err error) {
	db := e.pools[r.db]
	switch s.action {
	case insert:
		_, err = tx.Exec(ctx, `insert into marks values ($1)`, s.id)
	case divide:
		_, err = tx.Exec(ctx, `select 1 / 0`)
	case misname:
		_, err = tx.Exec(ctx, `insert into no_such_table values ($1)`, s.id)
	case conflict:
		text := `select 1`
		if !e.met[s.id] {
			text = `do $$ begin raise sqlstate '40001'; end $$`
		}
		e.met[s.id] = true
		_, err = tx.Exec(ctx, text)
	case beforeCommitIs:
		err = pgtx.BeforeCommit(ctx, db, e.hook("before", s, db))
	case afterCommitIs:
		err = pgtx.AfterCommit(ctx, db, e.hook("commit", s, db))
	case afterRollbackIs:
		err = pgtx.AfterRollback(ctx, db, e.hook("rollback", s, db))
	case cancel:
		cancels[len(cancels)-1-s.up]()
	case nested:
		if s.swallow {
			defer func() {
				if what := recover(); what != nil && what != errBusiness {
					panic(what)
				}
			}()
		}
		return e.run(ctx, s.run, cancels)
	}
	return err
}

var errHook = errors.New("the hook failed")

func (e *execution) hook(what string, s step, db pgtx.DB) func(context.Context) error {
	return func(ctx context.Context) error {
		e.hooks = append(e.hooks, called(what, s))
		if s.writes && what == "before" {
			if _, err := pgtx.Querier(ctx, db).Exec(ctx, `insert into marks values ($1)`, s.id); err != nil {
				return err
			}
		}
		if s.fails {
			return errHook
		}
		return nil
	}
}
