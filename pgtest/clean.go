package pgtest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CleanOption changes what [Clean] does.
type CleanOption func(*cleaning)

type cleaning struct{ all, dry bool }

// AllProjects cleans for all projects and users of the server, not only for the present project.
func AllProjects() CleanOption { return func(c *cleaning) { c.all = true } }

// DryRun makes Clean return what it would drop, and drop nothing.
func DryRun() CleanOption { return func(c *cleaning) { c.dry = true } }

// Clean drops what the tests of this project left on the server that they would use now, and
// returns the names: databases of processes that have ended, kept ones among them, and, if no test
// process runs, the templates and then the roles. The project is the nearest folder upwards with a
// go.work, else with a go.mod.
//
// Clean never touches what this package did not make, nor a database with a session. The error
// names what could not be dropped and says why, such as a prepared transaction; the rest is dropped
// all the same. A throw-away server that was kept goes.
func Clean(ctx context.Context, opts ...CleanOption) (dropped []string, err error) {
	var c cleaning
	for _, opt := range opts {
		opt(&c)
	}
	err = withHost(ctx, func(h *host) error {
		if !c.dry {
			if err := h.server.EndKeep(); err != nil {
				return err
			}
		}
		return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			dropped, err = h.clean(ctx, conn, c)
			return err
		})
	})
	return dropped, err
}

func (h *host) clean(ctx context.Context, conn *pgx.Conn, c cleaning) (dropped []string, err error) {
	var left []error
	drop := func(kind, name, project string, drop func() error) {
		if !c.all && project != h.project.dir {
			return
		}
		if !c.dry {
			err := drop()
			switch {
			case missing(err) || hasCode(err, "42704"): // another process was faster
				return
			case err != nil:
				left = append(left, fmt.Errorf("%s %s stays: %w", kind, name, err))
				return
			}
		}
		dropped = append(dropped, name)
	}
	orphans, err := h.orphans(ctx, conn)
	if err != nil {
		return nil, err
	}
	owners, err := listObjects(ctx, conn, listOwners)
	if err != nil {
		return nil, err
	}
	projects := map[string]string{}
	for _, o := range owners {
		projects[o.name] = strings.TrimPrefix(o.project, ownerMark)
	}
	for _, l := range orphans {
		drop("database", l.name, projects[l.owner], func() error { return dropDatabase(ctx, conn, l.name) })
	}
	for _, query := range []string{listUnfinished, listTemplates, listUsers, listOwners} {
		found, err := listObjects(ctx, conn, query)
		if err != nil {
			return dropped, err
		}
		living, err := h.living(ctx, conn)
		if err != nil {
			return dropped, err
		}
		for _, o := range found {
			if o.endedWith(living) {
				project := strings.TrimPrefix(o.project, ownerMark)
				drop(o.kind, o.name, project, func() error { return o.drop(ctx, conn) })
			}
		}
	}
	return dropped, errors.Join(left...)
}
