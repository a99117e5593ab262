package pgmigrate

import (
	"context"
	"slices"
)

// route decides, for a database at version current, which versions to go to in turn. An empty route
// means nothing to do.
type route func(current int32) ([]int32, error)

// idle reports, without a lock, whether there is nothing to do. If only the holder of the lock can
// know, there is something to do.
func (r *run) idle(ctx context.Context, route route) (bool, error) {
	targets, err := r.ask(ctx, route)
	if err != nil || !r.isDone(targets) {
		return false, err
	}
	k, ok := r.unfinished()
	if !ok || r.isNewer(k) {
		return true, nil
	}
	// Another instance works on a section; what this one was asked for is done.
	h, err := readHolder(ctx, r.conn)
	return h != nil, err
}

// plan decides, under the migration lock, what to do.
func (r *run) plan(ctx context.Context, route route) ([]int32, error) {
	targets, err := r.ask(ctx, route)
	if err != nil {
		return nil, err
	}
	k, ok := r.unfinished()
	if !ok {
		return targets, nil
	}
	if len(targets) == 0 && r.isNewer(k) {
		r.behind = true
		return nil, nil
	}
	u, err := r.m.readUnfinished(ctx, r.conn, k)
	if err != nil {
		return nil, err
	}
	if !u.Repeatable || len(targets) == 0 || firstStep(r.version, targets[0]) != (stepID{u.Version, u.Direction}) {
		return nil, &DirtyError{*u}
	}
	r.resume = u.Statement
	r.m.settings.logger.Info("continuing an interrupted migration", "migration", u.Name,
		"direction", string(u.Direction))
	return targets, nil
}

// ask reads the database's position and gets the route from there.
func (r *run) ask(ctx context.Context, route route) ([]int32, error) {
	var p position
	err := r.retry(ctx, func(ctx context.Context) (err error) {
		p, err = r.m.readPosition(ctx, r.conn)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.result.From, r.result.To = p.version, p.version
	r.takePosition(p)
	targets, err := route(p.version)
	last := p.version
	if len(targets) > 0 {
		// A file that is rolled back may be edited: redo corrects the last migration.
		last = min(last, slices.Min(targets))
	}
	if edited := r.m.edited(p, last); edited != nil {
		return nil, edited
	}
	return targets, err
}

// isDone reports whether there is nothing to do at the end of the route.
func (r *run) isDone(targets []int32) bool {
	return len(targets) == 0 &&
		(r.behind || r.version != r.m.folder.latest() || len(r.m.folder.changed(r.repeated)) == 0)
}

// isNewer reports whether an unfinished section belongs to a newer folder, and leaves it alone.
func (r *run) isNewer(k mark) bool {
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
