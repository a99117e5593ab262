package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/pgtx"
)

// crowd is callers that want a transaction at the same moment, and hold it open between reading a
// row and updating it.
type crowd struct {
	callers, conns int
	holdFor        time.Duration
	limits         prismaLimits  // zero: Prisma's own
	acquire        time.Duration // zero: pgpool's own
}

// crowds: one that its pool can serve in time, one that exhausts it, and transactions that take
// longer than Prisma's limit for them.
var crowds = []crowd{
	{callers: manyCallers, conns: 10, holdFor: 200 * time.Millisecond},
	{callers: manyCallers, conns: 10, holdFor: time.Second},
	{callers: 10, conns: 10, holdFor: 6 * time.Second},
}

// held is what became of a caller.
type held struct {
	took time.Duration
	err  string // empty: committed
}

func (c crowd) title() string {
	return fmt.Sprintf("%d callers on %d connections, each in a transaction for %s", c.callers, c.conns, c.holdFor)
}

// sides without the one with GOMAXPROCS=1, and with one more of ours that has Prisma's limits
// instead. Prisma is the last.
func (c crowd) sides(node, driver string) []opener {
	// https://www.prisma.io/docs/orm/prisma-client/queries/transactions#transaction-options
	limits := pgtx.Options{AcquireTimeout: 2 * time.Second, Timeout: 5 * time.Second}
	if c.limits.MaxWait > 0 {
		limits.AcquireTimeout = milliseconds(float64(c.limits.MaxWait))
	}
	ours := func(options pgtx.Options) func(context.Context, string, int) (*contender, error) {
		return func(ctx context.Context, url string, conns int) (*contender, error) {
			return contending(openOurs(ctx, url, conns, c.acquire, options))
		}
	}
	sides := []opener{{"pgpool and pgtx", ours(pgtx.Options{})}, {"pgpool and pgtx, limits as Prisma's", ours(limits)}}
	sides = append(sides, goOpeners()[2:]...)
	return append(sides, opener{"Prisma", func(ctx context.Context, url string, conns int) (*contender, error) {
		return openPrisma(ctx, node, driver, url, conns, false, c.limits)
	}})
}

// run runs the sides of Go at the same time, for they wait more than they work, and then Prisma
// alone, because its one core would feel the others. Each has rows of its own.
func (c crowd) run(ctx context.Context, r *report, address, node, driver string) error {
	sides := c.sides(node, driver)
	open := make([]*contender, len(sides))
	for i, o := range sides {
		side, err := o.open(ctx, named(address, i), c.conns)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		defer side.close()
		// All its connections are open when the crowd comes. Reads would not do: Prisma puts those
		// of a moment into one.
		if _, err := side.batch(ctx, "transaction", c.conns, 20*c.conns); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		open[i] = side
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "update accounts set balance = 0"); err != nil {
		return err
	}
	calls := make([][]held, len(sides))
	group, together := errgroup.WithContext(ctx)
	last := len(sides) - 1
	for i := range last {
		group.Go(func() (err error) {
			calls[i], err = open[i].hold(together, i*c.callers, c.callers, c.holdFor)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if calls[last], err = open[last].hold(ctx, last*c.callers, c.callers, c.holdFor); err != nil {
		return err
	}
	time.Sleep(time.Second) // for those that roll back after they have answered
	return c.print(ctx, r, conn, sides, calls)
}

func (c crowd) print(ctx context.Context, r *report, conn *pgx.Conn, sides []opener, calls [][]held) error {
	r.printf("\n%s\n\n| %-36s | %9s | %13s | %7s | %13s | %12s | %16s | %s |\n|%s|%s|%s|%s|%s|%s|%s|%s|\n", c.title(),
		"", "committed", "median, last", "refused", "median, last", "rows changed", "left in their tx", "refused with",
		dashes(38), dashes(11), dashes(15), dashes(9), dashes(15), dashes(14), dashes(18), dashes(14))
	for i, o := range sides {
		var changed, open int
		err := conn.QueryRow(ctx, "select sum(balance) from accounts where id > $1 and id <= $2", i*c.callers,
			(i+1)*c.callers).Scan(&changed)
		if err != nil {
			return err
		}
		const inTransaction = "select count(*) from pg_stat_activity where datname = current_database() and " +
			"application_name = $1 and state like 'idle in transaction%'"
		if err := conn.QueryRow(ctx, inTransaction, applicationName(i)).Scan(&open); err != nil {
			return err
		}
		c.printSide(r, o.name, calls[i], changed, open)
	}
	return nil
}

func (c crowd) printSide(r *report, name string, calls []held, changed, open int) {
	var committed, refused []time.Duration
	var reason string
	for _, call := range calls {
		if call.err == "" {
			committed = append(committed, call.took)
		} else {
			refused, reason = append(refused, call.took), call.err
		}
	}
	r.printf("| %-36s | %9d | %13s | %7d | %13s | %12d | %16d | %s |\n", name,
		len(committed), medianAndLast(committed), len(refused), medianAndLast(refused), changed,
		open, firstWords(reason))
}

func medianAndLast(times []time.Duration) string {
	if len(times) == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f, %.1f s", quantile(times, 0.5).Seconds(), quantile(times, 1).Seconds())
}

// firstWords of an error, on one line.
func firstWords(text string) string {
	const enough = 150
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > enough {
		return string(line[:enough]) + "…"
	}
	return string(line)
}

// hold does what hold in prisma/driver.mjs does.
func (s *goSide) hold(ctx context.Context, after, callers int, holdFor time.Duration) ([]held, error) {
	calls := make([]held, callers)
	var group sync.WaitGroup
	for i := range calls {
		group.Go(func() {
			began := time.Now()
			err := s.payIn(ctx, int32(after+i+1), holdFor) // less than 1,000
			calls[i].took = time.Since(began)
			if err != nil {
				calls[i].err = err.Error()
			}
		})
	}
	group.Wait()
	return calls, ctx.Err()
}

func applicationName(side int) string { return fmt.Sprintf("bench side %d", side) }

// named is the address with the side's name for the server.
func named(address string, side int) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	parameters := u.Query()
	parameters.Set("application_name", applicationName(side))
	u.RawQuery = parameters.Encode()
	return u.String()
}
