package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// probeFloods prints what many probes at once cost the server, which counts its sessions and
// transactions: a statement by itself is one, so is the preparation of one, and so is the beginning
// of a session.
func probeFloods(ctx context.Context, r *report, server *ownServer, callers int) error {
	const times = 5
	observer, err := server.observer(ctx)
	if err != nil {
		return err
	}
	defer observer.Close(context.WithoutCancel(ctx))
	r.printf("\n%d callers, %d probes in a row each: what reaches the database\n\n", callers, times)
	r.printf("| %-28s | %11s | %12s | %16s | %10s | %10s |\n|%s|%s|%s|%s|%s|%s|\n", "", "connections", "transactions",
		"answers", "median", "slowest",
		dashes(30), dashes(13), dashes(14), dashes(18), dashes(12), dashes(12))
	for _, p := range probers {
		before, err := count(ctx, observer)
		if err != nil {
			return err
		}
		pool, err := pgxpool.New(ctx, server.url)
		if err != nil {
			return err
		}
		handler, end, err := p.open(server.url, pool)
		if err != nil {
			pool.Close()
			return err
		}
		a := askAtOnce(handler, callers, times)
		end()
		pool.Close()
		after, err := count(ctx, observer)
		if err != nil {
			return err
		}
		r.printf("| %-28s | %11d | %12d | %16s | %10s | %10s |\n", p.name, after.sessions-before.sessions,
			after.transactions-before.transactions,
			a, short(quantile(a.times, 0.5)), short(quantile(a.times, 1)))
	}
	return nil
}

// served is what a server has counted in the database of an [ownServer].
type served struct{ sessions, transactions int64 }

// observer is a connection to another database of the server, whose queries do not count.
func (s *ownServer) observer(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.url)
	if err != nil {
		return nil, errors.New("the server's URL cannot be parsed")
	}
	cfg.Database = "postgres"
	return pgx.ConnectConfig(ctx, cfg)
}

// count waits until nobody is connected, for a session's counts are there when it has ended.
func count(ctx context.Context, observer *pgx.Conn) (s served, err error) {
	for n := 1; n > 0; {
		if err := observer.QueryRow(ctx,
			"select count(*) from pg_stat_activity where datname = 'app'").Scan(&n); err != nil {
			return s, err
		}
		if n > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	err = observer.QueryRow(ctx,
		"select sessions, xact_commit + xact_rollback from pg_stat_database where datname = 'app'").Scan(&s.sessions,
		&s.transactions)
	return s, err
}
