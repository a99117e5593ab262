package pgmigrate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-retry"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// waitPoll suits a start that waits for seconds. With it a hundred instances send 200 queries a
// second.
const waitPoll = 500 * time.Millisecond

// WaitFor blocks until the database's version is at least version, so that a service may start
// before the job that migrates has ended. It polls about every 500 ms (±50 %) on one connection,
// which may lead through PgBouncer: no lock, no write. It also waits for a server that does not
// answer yet, and for a right that this role lacks. A wrong password or database is an error at
// once.
//
// When ctx ends, WaitFor returns an error that wraps ctx's and names the database's version. An
// interrupted section is logged as a warning, once; WaitFor continues, because a person may resolve
// it.
func (m *Migrator) WaitFor(ctx context.Context, version int32) error {
	if version < 0 {
		return &VersionError{Target: version, Latest: m.folder.latest()}
	}
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			session.Close(ctx, conn)
		}
	}()
	reason := errors.New("the server was not asked")
	// keepWaiting retries what passes when the server has started or a right is granted. An error
	// that is only the end of ctx does not hide the reason before it.
	keepWaiting := func(ctx context.Context, err error) error {
		if ctx.Err() == nil {
			reason = err
		}
		switch pgerr.Of(err) {
		case pgerr.Refused, pgerr.StartingUp, pgerr.Shutdown, pgerr.Connection, pgerr.TooManyConnections,
			pgerr.DNS, pgerr.Timeout, pgerr.Permission:
			return retry.RetryableError(err)
		default:
			return err
		}
	}
	warned := false
	err := retry.Do(ctx, retry.WithJitterPercent(50, retry.NewConstant(waitPoll)), func(ctx context.Context) error {
		if conn == nil || conn.IsClosed() {
			var err error
			// Not a migration's session: PgBouncer refuses its settings.
			if conn, err = pgx.ConnectConfig(ctx, m.conn.Copy()); err != nil {
				return keepWaiting(ctx, fmt.Errorf("connect: %w", err))
			}
		}
		p, dirty, _, err := m.unfinished(ctx, conn)
		if err != nil {
			return keepWaiting(ctx, err)
		}
		if p.version >= version {
			return nil
		}
		reason = fmt.Errorf("the database is at version %d", p.version)
		if dirty != nil {
			reason = fmt.Errorf("%w: %w", reason, &DirtyError{*dirty})
			if !warned {
				warned = true
				m.settings.logger.Warn("waiting for a version, but a migration was interrupted", "version",
					version, "migration", dirty.Name)
			}
		}
		return retry.RetryableError(reason)
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("wait for version %d: %w: %w", version, reason, context.Cause(ctx))
	}
	return fmt.Errorf("wait for version %d: %w", version, err)
}
