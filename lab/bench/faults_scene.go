package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// fault is something that happens to one side at a time.
type fault struct {
	name  string
	waits bool // for the limit, on some side
	see   func(ctx context.Context, s *scene) (cell, error)
}

// scene is where one fault meets one side.
type scene struct {
	*test
	side  faultSide
	url   string
	admin *pgxpool.Pool // straight to the server
	table string        // two rows of its own, with id 1 and 2 and n = 0
	limit time.Duration
}

// meet has each fault played with each side, and returns a row a fault, which is filled in when the
// plays are over.
func (p *plays) meet(ctx context.Context, s *stage, admin *pgxpool.Pool, sides []faultSide, faults []fault) []faultRow {
	rows := make([]faultRow, len(faults))
	for i, f := range faults {
		rows[i] = faultRow{f.name, make([]cell, len(sides))}
		for j, side := range sides {
			p.add(f.waits, func() error {
				sc := &scene{
					test: &test{ctx: ctx}, side: side, url: s.server.url, admin: admin, limit: s.limit,
					table: fmt.Sprintf("counters_%d", s.scenes.Add(1)),
				}
				err := sc.run(func() error {
					_, err := admin.Exec(ctx,
						"create table "+sc.table+" (id int primary key, n int not null); insert into "+
							sc.table+" values (1, 0), (2, 0)")
					if err == nil {
						rows[i].cells[j], err = f.see(ctx, sc)
					}
					return err
				})
				if err != nil {
					return fmt.Errorf("%s, %s: %w", f.name, side.name, err)
				}
				return nil
			})
		}
	}
	return rows
}

// start starts the side's program with a pool of conns connections, and closes it when the scene is
// over.
func (s *scene) start(ctx context.Context, conns int) (*program, error) {
	p, err := s.side.start(ctx, s.url, conns)
	if err == nil {
		s.Cleanup(p.close)
	}
	return p, err
}

// overTCP puts a network between the side and the server, for programs that start afterwards. After
// a cut the first write to a TCP connection succeeds, other than on a Unix socket: nobody has been
// told yet.
func (s *scene) overTCP() *faultkit.Proxy {
	p := faultkit.NewProxy(s.test, s.url, faultkit.Options{})
	s.url = p.URL()
	return p
}

// increment is a statement on one of the scene's rows.
func (s *scene) increment(id int) string {
	return fmt.Sprintf("update %s set n = n + 1 where id = %d", s.table, id)
}

// applied is what the rows have now.
func (s *scene) applied(ctx context.Context) (first, second int, err error) {
	err = s.admin.QueryRow(ctx,
		fmt.Sprintf("select (select n from %[1]s where id = 1), (select n from %[1]s where id = 2)",
			s.table)).Scan(&first, &second)
	return first, second, err
}

// endless runs op with a ctx without a deadline, which is canceled at the limit so that the table
// comes to its end.
func endless(
	ctx context.Context, limit time.Duration, op func(context.Context) error,
) (took time.Duration, ended bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(limit, cancel)
	defer timer.Stop()
	began := time.Now()
	err = op(ctx)
	return time.Since(began), ctx.Err() == nil, err
}
