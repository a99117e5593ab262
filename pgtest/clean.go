package pgtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// CleanOptions says what [Clean] drops. The zero value drops what this project left.
type CleanOptions struct {
	AllProjects bool // drop what all projects and users of the server left
	DryRun      bool // drop nothing, only return the names
}

// Clean drops what the tests of this project left on the server that they would use now, and
// returns the names: databases of processes that have ended, kept ones among them, and, if no test
// process runs, the templates and then the roles. The project is the nearest folder upwards with a
// go.work, else with a go.mod.
//
// Clean never touches what this package did not make, nor a database with a session. The error
// names what could not be dropped and says why, such as a prepared transaction; Clean drops the
// rest all the same. A throw-away server that was kept goes.
func Clean(ctx context.Context, opts CleanOptions) (dropped []string, err error) {
	err = withHost(ctx, func(h *host) error {
		if !opts.DryRun {
			if err := h.server.EndKeep(); err != nil {
				return err
			}
		}
		return h.drops.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			dropped, err = h.clean(ctx, conn, opts)
			return err
		})
	})
	return dropped, err
}

func (h *host) clean(ctx context.Context, conn *pgx.Conn, opts CleanOptions) (dropped []string, err error) {
	list, isOrphan, err := h.findObjects(ctx, conn)
	if err != nil {
		return nil, err
	}
	var left []error
	for _, o := range list {
		if !isOrphan(o) || !opts.AllProjects && o.Project != h.project.dir {
			continue
		}
		if !opts.DryRun {
			if err := o.drop(ctx, conn); isGone(err) {
				continue
			} else if err != nil {
				left = append(left, stays(o, err))
				continue
			}
		}
		dropped = append(dropped, o.Name)
	}
	return dropped, errors.Join(left...)
}

// stays has the server's detail, which says what uses the object.
func stays(o object, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Detail != "" {
		err = fmt.Errorf("%w: %s", err, refused.Detail)
	}
	return fmt.Errorf("%s %s stays: %w", o.Kind, o.Name, err)
}
