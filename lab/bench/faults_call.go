package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// callFaults lets all other faults meet their sides, many at a time: the time goes into those that
// wait for the limit.
func (s *stage) callFaults(ctx context.Context) ([]faultTable, error) {
	admin, err := s.adminPool(ctx)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var p plays
	tables := []faultTable{
		{
			title: "Faults of the connection", sides: names(programs), ours: 1, rows: p.meet(ctx, s, admin,
				programs, connectionFaults),
		},
		{
			title: "Faults of a transaction", sides: names(transactors), ours: 2, rows: p.meet(ctx, s, admin,
				transactors, transactionFaults),
		},
		{
			title: "Mistakes in the configuration", sides: names(programs), ours: 1, rows: p.meet(ctx, s, admin,
				programs, configurationFaults),
		},
	}
	migrations := s.migrationFaults(ctx, &p, admin)
	err = p.run()
	return append(tables, *migrations), err
}

func names(sides []faultSide) []string {
	var names []string
	for _, s := range sides {
		names = append(names, s.name)
	}
	return names
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

// run plays all that wait at the same time, and the quick ones a few at a time: they should not
// find the machine busy.
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
