package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/pgtx"
)

// prismaPlan is how much is done. A test does less.
type prismaPlan struct {
	conns  int
	warmUp int // operations of each side and kind that do not count: V8 takes some 4,000 until it compiles no more
	count  int // operations of a side in a round
	crowds []crowd
}

// operations that are compared, by the names that prisma/driver.mjs knows.
var operations = []struct{ name, title string }{
	{"read", "A row read by primary key"},
	{"insert", "A row inserted, its id returned"},
	{"transaction", "A transaction: read a row, update it"},
}

// manyCallers is the most callers at a time; each has an account of its own.
const manyCallers = 64

// withPrisma compares Prisma Client on Node with ours and with other ways from Go: on the same
// server and socket, with pools of the same size, and the same statements where one can choose
// them. What each really sends is printed first.
func withPrisma(ctx context.Context, r *report, rounds int) error {
	return prismaAs(ctx, r, rounds, prismaPlan{conns: 8, warmUp: 4096, count: 128, crowds: crowds})
}

func prismaAs(ctx context.Context, r *report, rounds int, plan prismaPlan) error {
	node, driver, err := installPrisma(ctx)
	if no := (*noPrismaError)(nil); errors.As(err, &no) {
		r.printf("\nprisma is skipped: %v\n", no)
		return nil
	}
	if err != nil {
		return err
	}
	if err := reportPrisma(r); err != nil {
		return err
	}
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	if err := accounts(ctx, url); err != nil {
		return err
	}
	prisma := func(name string, named bool) opener {
		return opener{name, func(ctx context.Context, url string, conns int) (*contender, error) {
			return openPrisma(ctx, node, driver, url, conns, named, prismaLimits{})
		}}
	}
	openers := append(goOpeners(), prisma("Prisma", false), prisma("Prisma, statements with names", true))
	if err := whatIsSent(ctx, r, url, openers); err != nil {
		return err
	}
	if err := throughput(ctx, r, url, rounds, plan, openers); err != nil {
		return err
	}
	for _, c := range plan.crowds {
		if err := c.run(ctx, r, url, node, driver); err != nil {
			return fmt.Errorf("%s: %w", c.title(), err)
		}
	}
	return nil
}

// accounts makes the tables, with rows for as many callers of as many sides as there may be.
func accounts(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "create table accounts (id int primary key, name text not null, balance int not null, "+
		"opened timestamptz not null); "+
		"create table entries (id serial primary key, account int not null, amount int not null, note text not "+
		"null, made timestamptz not null default now()); "+
		"insert into accounts select i, 'account ' || i, 0, now() from generate_series(1, 1000) i; analyze accounts")
	return err
}

// contender is an open side.
type contender struct {
	// batch is callers that do one operation each, and then count among them: what those took
	// together.
	batch func(ctx context.Context, operation string, callers, count int) (spent, error)
	// hold is a transaction of each caller that is open for a while, on the accounts after the one
	// with the id after.
	hold  func(ctx context.Context, after, callers int, holdFor time.Duration) ([]held, error)
	close func()
}

// spent is what a batch took: by the clock, and of processors in the client's process.
type spent struct{ wall, cpu time.Duration }

// opener opens a side on a pool of conns connections.
type opener struct {
	name string
	open func(ctx context.Context, url string, conns int) (*contender, error)
}

func goOpeners() []opener {
	ours := func(ctx context.Context, url string, conns int) (*contender, error) {
		return contending(openOurs(ctx, url, conns, 0, pgtx.Options{}))
	}
	return []opener{
		{"pgpool and pgtx", ours},
		// Node runs JavaScript on one core; so that nobody has to ask what the other one was worth.
		{"pgpool and pgtx, GOMAXPROCS=1", func(ctx context.Context, url string, conns int) (*contender, error) {
			c, err := ours(ctx, url, conns)
			if err != nil {
				return nil, err
			}
			batch := c.batch
			c.batch = func(ctx context.Context, operation string, callers, count int) (spent, error) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				return batch(ctx, operation, callers, count)
			}
			return c, nil
		}},
		{"pgxpool", func(ctx context.Context, url string, conns int) (*contender, error) {
			return contending(openPgx(ctx, url, conns))
		}},
		{"database/sql over pgx", func(_ context.Context, url string, conns int) (*contender, error) {
			return contending(openSQL(url, conns))
		}},
		{"GORM", func(_ context.Context, url string, conns int) (*contender, error) {
			return contending(openGORM(url, conns))
		}},
	}
}

// contending does in Go what prisma/driver.mjs does on Node.
func contending(s *goSide, err error) (*contender, error) {
	if err != nil {
		return nil, err
	}
	do := map[string]func(context.Context, int32) error{
		"read": s.read, "insert": s.insert,
		"transaction": func(ctx context.Context, id int32) error { return s.payIn(ctx, id, 0) },
	}
	return &contender{
		batch: func(ctx context.Context, operation string, callers, count int) (spent, error) {
			each := func(times int) error {
				group, ctx := errgroup.WithContext(ctx)
				for caller := range int32(callers) {
					group.Go(func() error {
						for range times {
							if err := do[operation](ctx, caller+1); err != nil {
								return err
							}
						}
						return nil
					})
				}
				return group.Wait()
			}
			if err := each(1); err != nil {
				return spent{}, err
			}
			began, cpu := time.Now(), processors()
			err := each(count / callers)
			return spent{time.Since(began), processors() - cpu}, err
		},
		hold:  s.hold,
		close: s.close,
	}, nil
}

// processors is what this process has used of them.
func processors() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func openPrisma(
	ctx context.Context, node, driver, url string, conns int, named bool, limits prismaLimits,
) (*contender, error) {
	p, err := startPrisma(ctx, node, driver, url, conns, named)
	if err != nil {
		return nil, err
	}
	return &contender{
		batch: func(_ context.Context, operation string, callers, count int) (spent, error) {
			a, err := p.call(command{Op: operation, Callers: callers, Count: count})
			return spent{milliseconds(a.MS), milliseconds(a.CPU)}, err
		},
		hold: func(_ context.Context, after, callers int, holdFor time.Duration) ([]held, error) {
			a, err := p.call(command{
				Op: "hold", After: after, Callers: callers, HoldFor: holdFor.Milliseconds(), Limits: limits,
			})
			calls := make([]held, len(a.Calls))
			for i, c := range a.Calls {
				calls[i] = held{milliseconds(c.MS), c.Error}
			}
			return calls, err
		},
		close: func() {
			if err := p.close(); err != nil {
				fmt.Fprintln(os.Stderr, "bench: the driver of Prisma:", err)
			}
		},
	}, nil
}

func throughput(ctx context.Context, r *report, url string, rounds int, plan prismaPlan, openers []opener) error {
	contenders, failed := make([]*contender, len(openers)), make([]error, len(openers))
	for i, o := range openers {
		if contenders[i], failed[i] = o.open(ctx, url, plan.conns); failed[i] == nil {
			defer contenders[i].close()
		}
	}
	for _, op := range operations {
		for i, c := range contenders {
			if failed[i] == nil {
				_, failed[i] = c.batch(ctx, op.name, plan.conns, plan.warmUp)
			}
		}
		for _, callers := range []int{1, 8, manyCallers} {
			wall, cpu := make([]measuredSide, len(contenders)), make([]measuredSide, len(contenders))
			for i, o := range openers {
				wall[i].name, wall[i].failed = o.name, failed[i]
			}
			err := takeTurns(ctx, 1, rounds, wall, func(i int, counts bool) (time.Duration, error) {
				took, err := contenders[i].batch(ctx, op.name, callers, plan.count)
				if counts {
					cpu[i].timesByRound = append(cpu[i].timesByRound, took.cpu/time.Duration(plan.count))
				}
				return took.wall / time.Duration(plan.count), err
			})
			if err != nil {
				return err
			}
			for i, w := range wall {
				cpu[i].name, cpu[i].failed = w.name, w.failed
			}
			title := fmt.Sprintf("%s, %d at a time on %d connections", op.title, callers, plan.conns)
			r.add(title, rounds, plan.count, wall)
			if callers == 8 { // as many as the pool has connections
				r.add(title+": processor time of the client", rounds, plan.count, cpu)
			}
		}
	}
	return nil
}
