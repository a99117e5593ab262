package pgmigrate

import (
	"context"
	"slices"
)

// idle reports whether there is nothing to do. It takes no lock. What only the holder of the lock
// can know for sure counts as something to do.
func (r *run) idle(ctx context.Context, route route) (bool, error) {
	p, targets, err := r.ask(ctx, route)
	if err != nil || !r.isDone(targets) {
		return false, err
	}
	k, ok := p.unfinished()
	if !ok || r.notOurs(k) {
		return true, nil
	}
	// Another instance works on a section; what this one was asked for is done already.
	h, err := readHolder(ctx, r.conn)
	return h != nil, err
}

// plan decides, under the migration lock, what to do.
func (r *run) plan(ctx context.Context, route route) ([]int32, error) {
	p, targets, err := r.ask(ctx, route)
	if err != nil {
		return nil, err
	}
	k, ok := p.unfinished()
	if !ok {
		return targets, nil
	}
	if len(targets) == 0 && r.notOurs(k) {
		r.behind = true
		return nil, nil
	}
	u, err := r.m.readUnfinished(ctx, r.conn, k)
	if err != nil {
		return nil, err
	}
	if !u.Repeatable || len(targets) == 0 || firstStep(p.version, targets[0]) != (stepID{u.Version, u.Direction}) {
		return nil, &DirtyError{*u}
	}
	r.resume = u.Statement
	r.m.settings.logger.Info("continuing an interrupted migration", "migration", u.Name,
		"direction", string(u.Direction))
	return targets, nil
}

// ask reads where the database stands, and asks the route for the way from there.
func (r *run) ask(ctx context.Context, route route) (position, []int32, error) {
	var p position
	err := r.retry(ctx, func(ctx context.Context) (err error) {
		p, err = r.m.readPosition(ctx, r.conn)
		return err
	})
	if err != nil {
		return p, nil, err
	}
	r.result.From, r.result.To = p.version, p.version
	r.takePosition(p)
	targets, err := route(p.version)
	last := p.version
	if len(targets) > 0 {
		// What is rolled back may be edited: a correction of the last migration is redo.
		last = min(last, slices.Min(targets))
	}
	if edited := r.m.edited(p, last); edited != nil {
		return p, nil, edited
	}
	return p, targets, err
}

// notOurs reports whether an unfinished section is that of a newer folder, which this one has
// nothing to do with.
func (r *run) notOurs(k mark) bool {
	if k.version <= r.m.folder.latest() {
		return false
	}
	r.m.settings.logger.Warn("a migration of a newer folder is unfinished", "version", k.version)
	return true
}

type stepID struct {
	version   int32
	direction Direction
}

func firstStep(current, target int32) stepID {
	if target > current {
		return stepID{current + 1, DirectionUp}
	}
	return stepID{current, DirectionDown}
}
