package prisma

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// crowd is callers that want a transaction at the same moment, and hold it open between reading a
// row and updating it.
type crowd struct {
	callers, conns int
	holdFor        time.Duration
	limits         limits // of Prisma, and of a side of ours with the same
}

// crowds: one that its pool can serve in time, one that exhausts it, and transactions that take
// longer than Prisma's limit. The limits are Prisma's own:
// https://www.prisma.io/docs/orm/prisma-client/queries/transactions#transaction-options
var (
	prismaLimits = limits{acquire: 2 * time.Second, transaction: 5 * time.Second}
	crowds       = []crowd{
		{manyCallers, 10, 200 * time.Millisecond, prismaLimits},
		{manyCallers, 10, time.Second, prismaLimits},
		{10, 10, 6 * time.Second, prismaLimits},
	}
)

// held is what became of a caller.
type held struct {
	took time.Duration
	err  string // empty: committed
}

func (c crowd) title() string {
	return fmt.Sprintf("%d callers on %d connections, each in a transaction for %s", c.callers, c.conns, c.holdFor)
}

// run runs the sides of Go at the same time, for they wait more than they work, and then Prisma, the
// last one, alone, because its one core would feel the others. Each has rows of its own.
func (c crowd) run(ctx context.Context, r *harness.Report, url string, sides []side) error {
	sides = slices.Insert(slices.Clone(sides), 1, side{"pgpool and pgtx, limits as Prisma's", openOurs})
	last := len(sides) - 1
	clients, calls := make([]*client, len(sides)), make([][]held, len(sides))
	for i, s := range sides {
		l := limits{}
		if i == 1 || i == last {
			l = c.limits
		}
		client, err := s.open(ctx, fmt.Sprintf("%s&application_name=bench%%20side%%20%d", url, i), c.conns, l)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		defer client.close()
		// All its connections are open when the crowd comes. Reads would not do: Prisma puts those
		// of a moment into one.
		if _, err := client.batch(ctx, "transaction", c.conns, 20*c.conns); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		clients[i] = client
	}
	return harness.Session(ctx, url, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "update accounts set balance = 0"); err != nil {
			return err
		}
		hold := func(ctx context.Context, i int) (err error) {
			calls[i], err = clients[i].hold(ctx, i*c.callers, c.callers, c.holdFor)
			return err
		}
		group, together := errgroup.WithContext(ctx)
		for i := range last {
			group.Go(func() error { return hold(together, i) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if err := hold(ctx, last); err != nil {
			return err
		}
		time.Sleep(time.Second) // for those that roll back after they have answered
		var cells [][]string
		for i, s := range sides {
			line, err := c.line(ctx, conn, i, s.name, calls[i])
			if err != nil {
				return err
			}
			cells = append(cells, line)
		}
		r.Grid(c.title()+", "+harness.Cores(), []string{
			"", "committed", "median, last", "refused", "median, last", "rows changed", "left in their tx", "refused with",
		}, cells...)
		return nil
	})
}

func (c crowd) line(ctx context.Context, conn *pgx.Conn, i int, name string, calls []held) ([]string, error) {
	var changed, open int
	err := conn.QueryRow(ctx, `select (select sum(balance) from accounts where id > $1 and id <= $2),
		(select count(*) from pg_stat_activity where datname = current_database() and application_name = $3
			and state like 'idle in transaction%')`,
		i*c.callers, (i+1)*c.callers, fmt.Sprintf("bench side %d", i)).Scan(&changed, &open)
	var committed, refused []time.Duration
	reason := ""
	for _, call := range calls {
		if call.err == "" {
			committed = append(committed, call.took)
		} else {
			refused, reason = append(refused, call.took), call.err
		}
	}
	return []string{
		name, fmt.Sprint(len(committed)), medianAndLast(committed), fmt.Sprint(len(refused)), medianAndLast(refused),
		fmt.Sprint(changed), fmt.Sprint(open), harness.FirstWords(reason),
	}, err
}

func medianAndLast(times []time.Duration) string {
	if len(times) == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f, %.1f s", harness.Quantile(times, 0.5).Seconds(), harness.Quantile(times, 1).Seconds())
}
