package backfill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
)

const (
	closeTimeout = 5 * time.Second
	clientCheck  = "client_connection_check_interval"

	// idleTimeout ends the transaction of a worker that is stopped or cut off in the middle of a
	// batch, with the locks on its rows.
	idleTimeout = 10 * time.Second
)

// connect opens a session for batches.
func (r *Runner) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg := r.conn.Copy()
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "pgmigrate"
	}
	lockTimeout := milliseconds(r.opts.LockTimeout)
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"lock_timeout":                        lockTimeout,
		"statement_timeout":                   "0", // batches set their own
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
		"idle_session_timeout":                "0",
		"default_transaction_read_only":       "off",
		"default_transaction_isolation":       "read committed",
		"standard_conforming_strings":         "on",
		"tcp_keepalives_idle":                 "30",
		"tcp_keepalives_interval":             "10",
		"tcp_keepalives_count":                "3",
		clientCheck:                           "2s",
	})
	conn, err := pgx.ConnectConfig(ctx, cfg)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && strings.Contains(pgErr.Message, clientCheck) &&
		(pgErr.Code == "42704" || pgErr.Code == "22023") { // a platform that cannot tell
		delete(cfg.RuntimeParams, clientCheck)
		conn, err = pgx.ConnectConfig(ctx, cfg)
	}
	if errors.As(err, &pgErr) && pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "startup parameter") {
		return nil, fmt.Errorf("connect: %w: %w", pgmigrate.ErrPooled, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := settle(ctx, conn, lockTimeout); err != nil {
		disconnect(ctx, conn)
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

// disconnect closes conn whatever has become of ctx, and waits until pgx's own goroutines are gone.
func disconnect(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server notices the missing client
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// with runs fn on a connection of its own.
func (r *Runner) with(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
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

// clientName is who runs this process, as far as the system knows.
func clientName() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
