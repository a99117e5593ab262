package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/page-builder/persistence/lab/bench/harness"
)

// serverFault happens to the whole server, and so to all sides at the same time. ready prepares a
// side and returns what it does when the fault is there.
type serverFault struct {
	name  string
	ready func(ctx context.Context, s *scene) (see func(context.Context) (cell, error), err error)
}

// serverAct is how a fault of the server comes about: before the sides meet it, while they do, and
// how it ends.
type serverAct struct {
	faults               []serverFault
	before, while, after func() error
}

// acts lets the server be late, restarts it and freezes it.
func (s *stage) acts() []serverAct {
	nothing := func() error { return nil }
	var thaw func() error
	return []serverAct{
		{[]serverFault{{"it comes 2 s after the program", tooEarly}}, s.server.Stop, func() error {
			time.Sleep(2 * time.Second) // the subject
			return s.server.Start()
		}, nothing},
		{
			[]serverFault{{fmt.Sprintf("it was restarted: the next %d calls", calls), restarted}}, s.server.Restart, nothing,
			nothing,
		},
		{[]serverFault{
			{"it is frozen, the connection was idle for 1.5 s; ctx has no deadline", frozenAfter(0, 1500*time.Millisecond)},
			{
				"it is frozen, the connection was used a moment ago; ctx has no deadline",
				frozenAfter(1500*time.Millisecond, 0),
			},
		}, func() (err error) {
			thaw, err = s.server.Freeze()
			return err
		}, nothing, func() error { // and wait for an answer
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return errors.Join(thaw(), harness.Session(ctx, s.server.URL, func(*pgx.Conn) error { return nil }))
		}},
	}
}

func (s *stage) serverFaults(ctx context.Context, acts []serverAct) (*table, error) {
	t := newTable("Faults of the server", 1, programs)
	for _, act := range acts {
		if err := s.play(ctx, t, act); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// play prepares all sides, lets the fault begin, and sees what they do while it lasts.
func (s *stage) play(ctx context.Context, t *table, act serverAct) (err error) {
	scenes := make([]*scene, 0, len(act.faults)*len(programs))
	defer func() {
		for _, sc := range scenes {
			err = errors.Join(err, sc.Run(func() error { return nil })) // its cleanups
		}
	}()
	sees := make([]func(context.Context) (cell, error), cap(scenes))
	var cells [][]cell
	var preparing errgroup.Group
	for _, f := range act.faults {
		cells = append(cells, t.add(f.name))
		for _, side := range programs {
			sc := &scene{Test: &harness.Test{Ctx: ctx}, side: side, url: s.server.URL, limit: s.limit}
			i := len(scenes)
			scenes = append(scenes, sc)
			preparing.Go(func() (err error) {
				sees[i], err = f.ready(ctx, sc)
				return err
			})
		}
	}
	if err := preparing.Wait(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, act.after()) }() // before the programs are closed
	if err := act.before(); err != nil {
		return err
	}
	var seeing errgroup.Group
	for i, see := range sees {
		seeing.Go(func() (err error) {
			cells[i/len(programs)][i%len(programs)], err = see(ctx)
			return err
		})
	}
	return errors.Join(act.while(), seeing.Wait())
}

func tooEarly(_ context.Context, s *scene) (func(context.Context) (cell, error), error) {
	return func(ctx context.Context) (cell, error) {
		began := time.Now()
		if err := s.start(ctx, 1); err != nil {
			return cell{"does not start: " + said(err) + " " + after(time.Since(began)), told}, nil
		}
		return cell{"starts " + after(time.Since(began)), right}, nil
	}, nil
}

func restarted(ctx context.Context, s *scene) (func(context.Context) (cell, error), error) {
	if err := s.start(ctx, pooled); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (cell, error) { return s.callAgain(ctx), nil }, s.fill(ctx, pooled)
}

// frozenAfter leaves the program's only connection idle for a time, beginning after another.
func frozenAfter(wait, idle time.Duration) func(context.Context, *scene) (func(context.Context) (cell, error), error) {
	return func(ctx context.Context, s *scene) (func(context.Context) (cell, error), error) {
		if err := s.start(ctx, 1); err != nil {
			return nil, err
		}
		ask := func(ctx context.Context) error { return s.exec(ctx, "select 1") }
		time.Sleep(wait)
		err := ask(ctx)
		time.Sleep(idle)
		return func(ctx context.Context) (cell, error) { return s.waits(ctx, ask), nil }, err
	}
}
