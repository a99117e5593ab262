// Package prisma compares Prisma Client on Node with ours and with other Go packages: on the same
// server and socket, with pools of the same size, and with the same statements where possible.
package prisma

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "prisma", Rounds: 15, Charts: charts(),
	Run: func(ctx context.Context, r *harness.Report, rounds int) error {
		return run(ctx, r, rounds, plan{conns: conns, warmUp: 4096, count: 128})
	},
	Reasons: []harness.Reason{{
		Side: `^pgpool`,
		Why: "The hooks of acquire and release, and a tracer that looks at the time and error of each query; in a " +
			"transaction, the guard around its function.",
	}},
}

// operations are the compared operations, by their names in driver.mjs.
var operations = []struct{ name, title string }{
	{"read", "A row read by primary key"},
	{"insert", "A row inserted, its id returned"},
	{"transaction", "A transaction: read a row, update it"},
}

const (
	conns       = 8
	manyCallers = 64 // the maximum at a time; each has its own account
)

func title(operation string, callers, conns int) string {
	return fmt.Sprintf("%s, %d at a time on %d connections", operation, callers, conns)
}

// charts has one for each operation, with a panel for each number of callers.
func charts() (all []harness.Chart) {
	for _, op := range operations {
		c := harness.Chart{Title: fmt.Sprintf("%s on %d connections", op.title, conns)}
		c.File = "prisma-" + harness.FileName(c.Title)
		for _, callers := range []int{1, conns, manyCallers} {
			c.Panels = append(c.Panels,
				harness.Panel{Table: title(op.title, callers, conns), Heading: fmt.Sprintf("%d at a time", callers)})
		}
		all = append(all, c)
	}
	return all
}

// plan is the amount of work. A test does less.
type plan struct {
	conns  int
	warmUp int // operations of each side and kind that do not count: V8 compiles until some 4,000
	count  int // operations of a side in a round
}

func run(ctx context.Context, r *harness.Report, rounds int, plan plan) error {
	node, folder, err := install(ctx)
	if no := (*noPrismaError)(nil); errors.As(err, &no) {
		r.Printf("\nprisma is skipped: %v\n", no)
		return nil
	}
	if err == nil {
		err = reportVersions(r)
	}
	if err != nil {
		return err
	}
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	err = harness.Session(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `create table accounts (id int primary key, name text not null, balance int not null,
				opened timestamptz not null);
			create table entries (id serial primary key, account int not null, amount int not null, note text not null,
				made timestamptz not null default now());
			insert into accounts select i, 'account ' || i, 0, now() from generate_series(1, 1000) i; analyze accounts`)
		return err
	})
	if err != nil {
		return err
	}
	p := nodeFolder{node, folder}
	sides := append(goSides(), side{"Prisma", p.open(false)}, side{"Prisma, statements with names", p.open(true)})
	return throughput(ctx, r, url, rounds, plan, sides)
}

// client is an open side.
type client struct {
	// batch starts callers. Each does one operation first, and then they share count operations,
	// whose total time it returns.
	batch func(ctx context.Context, operation string, callers, count int) (spent, error)
	close func()
}

// spent is the elapsed time of a batch, and the processor time of the client's process.
type spent struct{ wall, cpu time.Duration }

// side opens a client with a pool of conns connections.
type side struct {
	name string
	open func(ctx context.Context, url string, conns int) (*client, error)
}

func throughput(ctx context.Context, r *harness.Report, url string, rounds int, plan plan, sides []side) error {
	clients, failed := make([]*client, len(sides)), make([]error, len(sides))
	names := make([]string, len(sides))
	for i, s := range sides {
		names[i] = s.name
		if clients[i], failed[i] = s.open(ctx, url, plan.conns); failed[i] == nil {
			defer clients[i].close()
		}
	}
	for _, op := range operations {
		for i, c := range clients {
			if failed[i] == nil {
				_, failed[i] = c.batch(ctx, op.name, plan.conns, plan.warmUp)
			}
		}
		for _, callers := range []int{1, conns, manyCallers} {
			wall, cpu := harness.Rows(names...), harness.Rows(names...)
			for i, err := range failed {
				wall[i].Failed = err
			}
			err := harness.TakeTurns(ctx, 1, rounds, wall, func(i int, counts bool) (time.Duration, error) {
				took, err := clients[i].batch(ctx, op.name, callers, plan.count)
				if counts {
					cpu[i].Times = append(cpu[i].Times, took.cpu/time.Duration(plan.count))
				}
				return took.wall / time.Duration(plan.count), err
			})
			if err != nil {
				return err
			}
			for i, w := range wall {
				cpu[i].Failed = w.Failed
			}
			title := title(op.title, callers, plan.conns)
			r.Add(title, rounds, plan.count, wall)
			if callers == conns {
				r.Add(title+": processor time of the client", rounds, plan.count, cpu)
			}
		}
	}
	return nil
}
