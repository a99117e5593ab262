package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgtx"
)

const (
	accounts = 500
	opening  = 1000

	// workers is the number of workers of each side, and each of them thinks between two transfers.
	// The whole cluster runs on this machine, so most workers should be idle at any time.
	workers = 5
	thinks  = 25 * time.Millisecond

	// patience limits how long a client retries one transfer: longer than a failover takes.
	patience = 20 * time.Second
	// attemptLimit limits one attempt. A frozen server sends nothing, but its kernel still answers
	// keepalive probes, so nothing else would end the attempt.
	attemptLimit = 2 * time.Second
)

// side is one implementation of transfers. It has its own accounts.
type side struct {
	Name    string
	schema  string
	run     func(ctx context.Context, key string, fn func(context.Context, pgx.Tx) error) error
	resolve func(ctx context.Context, unknown *pgtx.CommitUnknownError) (bool, error) // nil: not supported

	acks   moments
	errs   tally
	next   atomic.Int64
	mu     sync.Mutex
	told   []Told
	unsure map[int64]*pgtx.CommitUnknownError
	why    tally // why an outcome stayed unknown
}

// verified is pgtx with VerifyCommit, which asks for an unknown outcome by the transaction's id.
func verified(pool *pgxpool.Pool, schema string) *side {
	return ours("pgtx", pool, schema, false)
}

// keyed is pgtx with an IdempotencyKey as well, which can resolve an outcome on any server that
// took over.
func keyed(pool *pgxpool.Pool, schema string) *side {
	return ours("pgtx, key", pool, schema, true)
}

func ours(name string, pool *pgxpool.Pool, schema string, withKey bool) *side {
	s := &side{Name: name, schema: schema, unsure: map[int64]*pgtx.CommitUnknownError{}}
	s.run = func(ctx context.Context, key string, fn func(context.Context, pgx.Tx) error) error {
		opts := options()
		opts.Observe = func(_ context.Context, r pgtx.Report) { s.errs.add(r.Err) }
		if withKey {
			opts.IdempotencyKey = schema + "/" + key
		}
		return pgtx.RunWith(ctx, pool, opts, fn)
	}
	s.resolve = func(ctx context.Context, unknown *pgtx.CommitUnknownError) (bool, error) {
		return unknown.Resolve(ctx, pool)
	}
	return s
}

// options apply to every transaction of the service under test.
func options() pgtx.Options {
	return pgtx.Options{MaxAttempts: 1000, Timeout: patience, AttemptTimeout: attemptLimit, VerifyCommit: true}
}

// naive is the control: plain pgx with a loop that retries after any error.
func naive(pool *pgxpool.Pool, schema string) *side {
	s := &side{Name: "control", schema: schema}
	s.run = func(ctx context.Context, _ string, fn func(context.Context, pgx.Tx) error) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for {
			err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return fn(ctx, tx) })
			if err == nil {
				return nil
			}
			s.errs.add(err)
			if ctx.Err() != nil {
				return err
			}
			sleep(ctx, 100*time.Millisecond)
		}
	}
	return s
}

// create makes the accounts of a side.
func (s *side) create(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{
		`create table %s (id int primary key, balance bigint not null)`,
		`insert into %s select n, ` + fmt.Sprint(opening) + ` from generate_series(1, ` + fmt.Sprint(accounts) + `) n`,
	} {
		if _, err := conn.Exec(ctx, fmt.Sprintf(sql, s.table("accounts"))); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, fmt.Sprintf(`create table %s (transfer bigint, attempt int, source int not null,
		target int not null,
		amount bigint not null, primary key (transfer, attempt))`, s.table("lines")))
	return err
}

func (s *side) table(name string) string {
	return pgx.Identifier{s.schema, s.Name + " " + name}.Sanitize()
}

// work makes transfers until stop ends, and then finishes those it has started.
func (s *side) work(stop context.Context) {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for stop.Err() == nil {
				s.transfer(context.WithoutCancel(stop), s.next.Add(1))
				sleep(stop, rand.N(2*thinks))
			}
		})
	}
	all.Wait()
}

func (s *side) transfer(ctx context.Context, n int64) {
	line := Line{
		Transfer: n, Source: 1 + rand.IntN(accounts), Target: 1 + rand.IntN(accounts), Amount: 1 + rand.Int64N(5),
	}
	err := s.run(ctx, fmt.Sprint(n), func(ctx context.Context, tx pgx.Tx) error {
		line.Attempt++
		return s.apply(ctx, tx, line)
	})
	told := Told{Transfer: n, Outcome: Refused}
	var unknown *pgtx.CommitUnknownError
	switch {
	case err == nil:
		told.Outcome = Acknowledged
		s.acks.add(time.Now())
	case s.resolve != nil && errors.As(err, &unknown):
		told.Outcome = Unknown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, told)
	if unknown != nil && s.resolve != nil {
		s.unsure[n] = unknown
	}
}

func (s *side) apply(ctx context.Context, tx pgx.Tx, line Line) error {
	move := fmt.Sprintf(`update %s set balance = balance + $2 where id = $1`, s.table("accounts"))
	if _, err := tx.Exec(ctx, move, line.Source, -line.Amount); err != nil {
		return fmt.Errorf("take: %w", err)
	}
	insert := fmt.Sprintf(`insert into %s values ($1, $2, $3, $4, $5)`, s.table("lines"))
	if _, err := tx.Exec(ctx, insert, line.Transfer, line.Attempt, line.Source, line.Target, line.Amount); err != nil {
		return fmt.Errorf("write down: %w", err)
	}
	if _, err := tx.Exec(ctx, move, line.Target, line.Amount); err != nil {
		return fmt.Errorf("give: %w", err)
	}
	return nil
}

// settle asks again about the transfers whose outcome is unknown.
func (s *side) settle(ctx context.Context) {
	var all sync.WaitGroup
	for i, t := range s.told {
		if t.Outcome != Unknown {
			continue
		}
		all.Go(func() {
			committed, err := s.resolve(ctx, s.unsure[t.Transfer])
			if err != nil {
				s.why.add(err)
				return
			}
			s.told[i].Resolved = &committed
		})
	}
	all.Wait()
}

// book reads the accounts and the lines in one snapshot.
func (s *side) book(ctx context.Context, conn *pgx.Conn) (Book, error) {
	book := Book{Balances: map[int]int64{}, Opening: opening}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select transfer, attempt, source, target, amount from `+s.table("lines"))
			if err != nil {
				return err
			}
			if book.Lines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Line]); err != nil {
				return err
			}
			if rows, err = tx.Query(ctx, `select id, balance from `+s.table("accounts")); err != nil {
				return err
			}
			var id int
			var balance int64
			_, err = pgx.ForEachRow(rows, []any{&id, &balance}, func() error {
				book.Balances[id] = balance
				return nil
			})
			return err
		})
	return book, err
}
