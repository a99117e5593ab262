package backfill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/internal/session"
)

// idleTimeout ends the transaction of a worker that is stopped or cut off in the middle of a batch,
// with the locks on its rows.
const idleTimeout = 10 * time.Second

// connect opens a session for batches.
func (r *Runner) connect(ctx context.Context) (*pgx.Conn, error) {
	lockTimeout := milliseconds(r.opts.LockTimeout)
	conn, err := session.Open(ctx, session.Config(r.conn, map[string]string{
		"lock_timeout":                        lockTimeout,
		"statement_timeout":                   "0", // batches set their own
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
		"row_security":                        "off", // an error instead of rows that a policy hides
	}))
	if err != nil {
		return nil, err
	}
	if err := settle(ctx, conn, lockTimeout); err != nil {
		session.Close(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// settle makes the text of a key the same in all sessions, and recognizes a pooler that drops
// settings. DateStyle keeps its order of day and month, which the statement may count on.
func settle(ctx context.Context, conn *pgx.Conn, lockTimeout string) error {
	var inForce string
	err := conn.QueryRow(ctx, `
select max(case when name = 'lock_timeout' then setting end),
  count(case name
    when 'DateStyle' then set_config(name, 'ISO', false)
    when 'IntervalStyle' then set_config(name, 'iso_8601', false)
    when 'bytea_output' then set_config(name, 'hex', false)
    when 'extra_float_digits' then set_config(name, '3', false)
    when 'transaction_timeout' then set_config(name, '0', false) -- since PostgreSQL 17
  end)
from pg_catalog.pg_settings`, pgx.QueryExecModeExec).Scan(&inForce, nil)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if inForce != lockTimeout {
		return fmt.Errorf("connect: %w: the lock_timeout that was asked for is not in force", pgmigrate.ErrPooled)
	}
	return nil
}

// milliseconds is a limit as the server takes it. 0 would be none.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, (d+time.Millisecond-1).Milliseconds()), 10)
}

// with runs fn on a connection of its own.
func (r *Runner) with(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close(ctx, conn)
	return fn(conn)
}

// sleep returns after about d (±50 %), or with the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
