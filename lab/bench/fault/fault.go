// Package fault throws the same faults at the modules and at the usual alternatives, on a separate
// server. Every cell shows what one run saw; there are no rounds.
package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{Name: "faults", Rounds: 1, Run: run}

func run(ctx context.Context, r *harness.Report, _ int) error {
	if os.Getenv(childTool) != "" {
		return migrateAsChild(ctx)
	}
	t := &harness.Test{Ctx: ctx}
	return t.Run(func() error {
		s := newStage(t)
		s.limit, s.hold = 33*time.Second, 10*time.Second // above the 30 s of pgconfig's statement_timeout
		tables, err := s.play(ctx)
		if err != nil {
			return err
		}
		for _, t := range tables {
			t.print(r)
		}
		return nil
	})
}

// fault is something that happens to one side at a time.
type fault struct {
	name  string
	waits bool // for the limit, on some side
	conns int  // connections of the program; 0: see starts the program
	tcp   bool // the program connects over TCP, through a network that can be cut
	see   func(ctx context.Context, s *scene) (cell, error)
}

// scene is one fault with one side.
type scene struct {
	*harness.Test
	*program
	side    side
	url     string
	network *faultkit.Proxy // nil without tcp
	admin   *pgxpool.Pool   // straight to the server
	table   string          // two rows of its own, with id 1 and 2 and n = 0
	limit   time.Duration
}

// stage is the server on which the faults happen, and how long they may last.
type stage struct {
	url    string        // of the server
	limit  time.Duration // ends operations that would never end
	hold   time.Duration // length of the statement in which a migration is killed; less than limit
	scenes atomic.Int64
}

func newStage(t faultkit.TB) *stage {
	_, url := harness.StartServer(t, map[string]string{"fsync": "off", "max_connections": "400"})
	return &stage{url: url}
}

// play runs the faults with their sides. It runs many at a time, because most of them wait for the
// limit.
func (s *stage) play(ctx context.Context) ([]*table, error) {
	cfg, err := harness.PoolConfig(s.url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 16
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // the tables come and go
	admin, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var p plays
	tables := []*table{
		s.meet(ctx, &p, admin, "Faults of the server", 1, programs, serverFaults),
		s.meet(ctx, &p, admin, "Faults of the connection", 1, programs, connectionFaults),
		s.meet(ctx, &p, admin, "Faults of a transaction", 2, transactors, transactionFaults),
		s.migrationFaults(ctx, &p, admin),
	}
	return tables, p.run()
}

// meet adds a play for each fault and side. It returns the table, which is complete after the
// plays.
func (s *stage) meet(
	ctx context.Context, p *plays, admin *pgxpool.Pool, title string, ours int, sides []side, faults []fault,
) *table {
	t := newTable(title, ours, sides)
	for _, f := range faults {
		cells := t.add(f.name)
		for j, side := range sides {
			p.add(f.waits, func() error {
				sc := &scene{
					Test: &harness.Test{Ctx: ctx}, side: side, url: s.url, admin: admin, limit: s.limit,
					table: fmt.Sprintf("counters_%d", s.scenes.Add(1)),
				}
				err := sc.Run(func() error {
					_, err := admin.Exec(ctx, "create table "+sc.table+" (id int primary key, n int not null); "+
						"insert into "+sc.table+" values (1, 0), (2, 0)")
					if err == nil {
						err = sc.prepare(ctx, f)
					}
					if err == nil {
						cells[j], err = f.see(ctx, sc)
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
	return t
}

// prepare starts the side's program. After a cut, the first write to a TCP connection still
// succeeds, unlike on a Unix socket.
func (s *scene) prepare(ctx context.Context, f fault) (err error) {
	if f.tcp {
		s.network = faultkit.NewProxy(s.Test, s.url, faultkit.Options{})
		s.url = s.network.URL()
	}
	if f.conns > 0 {
		err = s.start(ctx, f.conns)
	}
	return err
}

// start starts the side's program and closes it when the scene is over.
func (s *scene) start(ctx context.Context, conns int) (err error) {
	if s.program, err = s.side.start(ctx, s.url, conns); err == nil {
		s.Cleanup(s.close)
	}
	return err
}

// increment is a statement on one of the scene's rows.
func (s *scene) increment(id int) string {
	return fmt.Sprintf("update %s set n = n + 1 where id = %d", s.table, id)
}

// applied returns the current values of the rows.
func (s *scene) applied(ctx context.Context) (first, second int, err error) {
	err = s.admin.QueryRow(ctx, fmt.Sprintf("select a.n, b.n from %[1]s a, %[1]s b where a.id = 1 and b.id = 2",
		s.table)).Scan(&first, &second)
	return first, second, err
}

// plays are faults and sides that do not touch each other.
type plays struct{ waiting, quick []func() error }

func (p *plays) add(waits bool, play func() error) {
	if waits {
		p.waiting = append(p.waiting, play)
	} else {
		p.quick = append(p.quick, play)
	}
}

// run runs all waiting plays at the same time. It runs the quick ones a few at a time, to keep the
// machine idle for them.
func (p *plays) run() error {
	var waiting, quick errgroup.Group
	for _, play := range p.waiting {
		waiting.Go(play)
	}
	quick.SetLimit(3)
	for _, play := range p.quick {
		quick.Go(play)
	}
	return errors.Join(waiting.Wait(), quick.Wait())
}

// endless runs op with a ctx without a deadline, and cancels it at the limit so that the run ends.
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

// waits returns the cell of op. It cannot succeed, and should end on its own.
func (s *scene) waits(ctx context.Context, op func(context.Context) error) cell {
	took, ended, err := endless(ctx, s.limit, op)
	return waited(took, ended, err, s.limit)
}

func waited(took time.Duration, ended bool, err error, limit time.Duration) cell {
	if !ended {
		return cell{fmt.Sprintf("no end in %.0f s", limit.Seconds()), wrong}
	}
	return cell{said(err) + " " + after(took), told}
}
