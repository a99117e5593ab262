package prisma

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// whatIsSent prints what each side sends for one operation, when it has done it before, and how many
// statements it sends for manyCallers of them at once.
func whatIsSent(ctx context.Context, r *harness.Report, url string, sides []side) error {
	sent := make([][]string, len(sides))
	for i, s := range sides {
		var err error
		if sent[i], err = s.sends(ctx, url); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for i, op := range operations {
		r.Printf("\n%s: what is sent, a line for each round trip\n\n", op.title)
		var seen []string
		for _, of := range sent {
			if slices.Contains(seen, of[i]) {
				continue
			}
			seen = append(seen, of[i])
			var names []string
			for j, s := range sides {
				if sent[j][i] == of[i] {
					names = append(names, s.name)
				}
			}
			r.Printf("- %s; %s", strings.Join(names, "; "), of[i])
		}
	}
	return nil
}

// sends returns what the side sends for each of the operations, through a proxy on a socket.
func (s side) sends(ctx context.Context, url string) ([]string, error) {
	var (
		mu    sync.Mutex
		trips [][]string // the statements of each round trip
		last  int        // the number of the last round trip
	)
	since := func() [][]string { // what was sent since the last call
		mu.Lock()
		defer mu.Unlock()
		sent := trips
		trips = nil
		return sent
	}
	t := &harness.Test{Ctx: ctx}
	sent := make([]string, len(operations))
	err := t.Run(func() error {
		p := fault.NewProxy(t, url, fault.Options{Unix: true})
		p.OnRequest(func(r fault.Request) fault.Cut {
			trip := p.Stats().Flushes
			text := "parsed and planned anew: " + r.SQL
			switch {
			case r.Simple:
				text = "simple: " + r.SQL
			case r.Statement != "":
				text = "prepared: " + r.SQL
			}
			mu.Lock()
			defer mu.Unlock()
			if len(trips) == 0 || trip != last {
				trips = append(trips, nil)
			}
			last = trip
			trips[len(trips)-1] = append(trips[len(trips)-1], text)
			return fault.Pass
		})
		c, err := s.open(ctx, p.URL(), 1, limits{})
		if err != nil {
			return err
		}
		defer c.close()
		for i, op := range operations {
			if _, err := c.batch(ctx, op.name, 1, 3); err != nil {
				return err
			}
			since()
			if _, err := c.batch(ctx, op.name, 1, 0); err != nil {
				return err
			}
			one := since()
			if _, err := c.batch(ctx, op.name, manyCallers, 0); err != nil {
				return err
			}
			sent[i] = fmt.Sprintf("statements for %d at once: %d\n", manyCallers, len(slices.Concat(since()...)))
			for n, trip := range one {
				sent[i] += fmt.Sprintf("  %d. %s\n", n+1, strings.Join(trip, "; "))
			}
		}
		return nil
	})
	return sent, err
}
