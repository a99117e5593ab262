package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ready waits until the cluster is fully healthy. There is one primary, and all other nodes stream
// from it, one of them synchronously. A write commits through HAProxy and through PgBouncer, and
// HAProxy's reader leads to a standby. If ctx ends first, the error says what is missing. Bring
// back killed, frozen and partitioned nodes first.
func (c *Cluster) Ready(ctx context.Context) error {
	if err := poll(ctx, func() error { return c.healthy(ctx) }); err != nil {
		return fmt.Errorf("wait until the cluster is ready: %w", err)
	}
	return nil
}

func (c *Cluster) healthy(ctx context.Context) error {
	if err := c.failed(); err != nil {
		return final{err}
	}
	primary, err := c.Primary(ctx)
	if err != nil {
		return err
	}
	if standbys := c.all(ctx, "/replica"); len(standbys) != len(c.nodes)-1 {
		return fmt.Errorf("%d of %d standbys are up", len(standbys), len(c.nodes)-1)
	}
	if !c.opts.Async {
		if _, err := c.SyncStandby(ctx); err != nil {
			return err
		}
	}
	streams := 0
	if err := query(ctx, primary.URL, "select count(*) from pg_stat_replication where state = 'streaming'",
		&streams); err != nil {
		return fmt.Errorf("%s: %w", primary.Name, err)
	}
	if streams != len(c.nodes)-1 {
		return fmt.Errorf("%d of %d standbys stream", streams, len(c.nodes)-1)
	}
	for _, way := range []struct{ name, url string }{
		{"HAProxy", c.url(c.writerPort)}, {"PgBouncer", c.url(c.poolPort)},
	} {
		// This write changes nothing, but its commit waits for the standby.
		var lsn string
		if err := query(ctx, way.url, "select pg_logical_emit_message(true, 'ready', '')::text", &lsn); err != nil {
			return fmt.Errorf("write through %s: %w", way.name, err)
		}
	}
	standby := false
	if err := query(ctx, c.url(c.readerPort), "select pg_is_in_recovery()", &standby); err != nil {
		return fmt.Errorf("read through HAProxy: %w", err)
	}
	if !standby {
		return errors.New("HAProxy's reader leads to the primary")
	}
	return nil
}

// failed returns the error of a program that should run but has ended.
func (c *Cluster) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return errStopped
	}
	var err error
	for _, p := range []*process{c.etcd, c.haproxy, c.pgbouncer} {
		err = errors.Join(err, p.failed())
	}
	for _, n := range c.nodes {
		n.mu.Lock()
		if failed := n.patroni.failed(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", n.Name, failed))
		}
		n.mu.Unlock()
	}
	return err
}

// queryLimit limits a query, including its connect: through a proxy that has not noticed a fault
// yet, it would never end.
const queryLimit = 5 * time.Second

// query reads one value from a server.
func query(ctx context.Context, url, sql string, value any) error {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errors.New("cannot parse the URL") // pgx's error may show it
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // PgBouncer 1.18 has no prepared statements
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.QueryRow(ctx, sql).Scan(value)
}

// createDatabase waits for the first primary and creates the application's role and database there.
func (c *Cluster) createDatabase(ctx context.Context) error {
	var primary *Node
	err := poll(ctx, func() (err error) {
		if err := c.failed(); err != nil {
			return final{err}
		}
		primary, err = c.Primary(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for a primary: %w", err)
	}
	config, err := pgx.ParseConfig("postgres://" + url.UserPassword("postgres", c.secrets.superuser).String() + "@" +
		address(primary.port) + "/postgres?sslmode=disable")
	if err != nil {
		return errors.New("cannot parse the superuser's URL")
	}
	// There may be no standby to wait for yet. The password stays out of the log even if the
	// statement fails.
	config.RuntimeParams["synchronous_commit"] = "local"
	config.RuntimeParams["log_min_error_statement"] = "panic"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{
		"create role " + database + " login password '" + c.secrets.app + "' in role pg_read_all_stats",
		"create database " + database + " owner " + database,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create the database: %w", err)
		}
	}
	return nil
}
