package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// serverFault happens to the whole server, and so to all sides at the same time. ready prepares one
// of them and returns what it does when the fault is there.
type serverFault struct {
	name  string
	ready func(ctx context.Context, s *scene) (see func(context.Context) (cell, error), err error)
}

// serverAct is how a fault of the server comes about: before the sides meet it, while they do, and
// how it ends.
type serverAct struct {
	faults               []serverFault
	before, while, after func(context.Context) error
}

// acts lets the server be late, restarts it and freezes it.
func (s *stage) acts() []serverAct {
	nothing := func(context.Context) error { return nil }
	return []serverAct{
		{[]serverFault{{"it comes 2 s after the program", tooEarly}}, s.server.stop, s.comeLate, nothing},
		{
			[]serverFault{{fmt.Sprintf("it was restarted: the next %d calls", calls), restarted}},
			s.server.restart, nothing, nothing,
		},
		{[]serverFault{
			{
				"it is frozen, the connection was idle for 1.5 s; ctx has no deadline",
				frozenAfter(0, 1500*time.Millisecond),
			},
			{
				"it is frozen, the connection was used a moment ago; ctx has no deadline",
				frozenAfter(1500*time.Millisecond, 0),
			},
		}, s.freeze, nothing, s.thaw},
	}
}

func (s *stage) serverFaults(ctx context.Context, acts []serverAct) (*faultTable, error) {
	table := &faultTable{title: "Faults of the server", sides: names(programs), ours: 1}
	for _, act := range acts {
		rows, err := s.together(ctx, act)
		if err != nil {
			return nil, err
		}
		table.rows = append(table.rows, rows...)
	}
	return table, nil
}

// together prepares all sides, lets the fault begin, and sees what they do while it lasts.
func (s *stage) together(ctx context.Context, act serverAct) (rows []faultRow, err error) {
	var scenes []*scene
	defer func() {
		for _, sc := range scenes {
			err = errors.Join(err, sc.run(func() error { return nil })) // its cleanups
		}
	}()
	var sees []func(context.Context) (cell, error)
	for _, f := range act.faults {
		rows = append(rows, faultRow{f.name, make([]cell, len(programs))})
		for _, side := range programs {
			scenes = append(scenes, &scene{test: &test{ctx: ctx}, side: side, url: s.server.url, limit: s.limit})
			sees = append(sees, nil)
		}
	}
	cells := len(programs)
	var preparing errgroup.Group
	for i, sc := range scenes {
		preparing.Go(func() (err error) {
			sees[i], err = act.faults[i/cells].ready(ctx, sc)
			return err
		})
	}
	if err := preparing.Wait(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, act.after(context.WithoutCancel(ctx))) }() // before the programs are closed
	if err := act.before(ctx); err != nil {
		return nil, err
	}
	var seeing errgroup.Group
	for i, see := range sees {
		seeing.Go(func() (err error) {
			rows[i/cells].cells[i%cells], err = see(ctx)
			return err
		})
	}
	err = act.while(ctx)
	return rows, errors.Join(err, seeing.Wait())
}

func tooEarly(_ context.Context, s *scene) (func(context.Context) (cell, error), error) {
	return func(ctx context.Context) (cell, error) {
		began := time.Now()
		_, err := s.start(ctx, 1)
		if err != nil {
			return cell{"does not start: " + said(err) + " " + after(time.Since(began)), told}, nil
		}
		return cell{"starts " + after(time.Since(began)), right}, nil
	}, nil
}

func (s *stage) comeLate(ctx context.Context) error {
	time.Sleep(2 * time.Second) // the subject
	return s.server.start(ctx)
}

func restarted(ctx context.Context, s *scene) (func(context.Context) (cell, error), error) {
	p, err := s.start(ctx, pooled)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (cell, error) { return p.callAgain(ctx), nil }, p.fill(ctx, pooled)
}

// frozenAfter lets the program's only connection be idle for a time, beginning after another.
func frozenAfter(wait, idle time.Duration) func(context.Context, *scene) (func(context.Context) (cell, error), error) {
	return func(ctx context.Context, sc *scene) (func(context.Context) (cell, error), error) {
		p, err := sc.start(ctx, 1)
		if err != nil {
			return nil, err
		}
		time.Sleep(wait)
		err = p.exec(ctx, "select 1")
		time.Sleep(idle)
		return func(ctx context.Context) (cell, error) {
			took, ended, err := endless(ctx, sc.limit, func(ctx context.Context) error {
				return p.exec(ctx, "select 1")
			})
			return waited(took, ended, err, sc.limit), nil
		}, err
	}
}

// freeze stops all processes of the server.
func (s *stage) freeze(context.Context) (err error) {
	s.thawServer, err = s.server.freeze()
	return err
}

// thaw also waits for the server to answer again.
func (s *stage) thaw(ctx context.Context) error {
	err := s.thawServer()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, connectErr := pgx.Connect(ctx, s.server.url)
	if connectErr == nil {
		connectErr = conn.Close(ctx)
	}
	return errors.Join(err, connectErr)
}
