package pgpool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// Connect returns a pool even if the server has no room for all idle connections.
func TestConnectWithFewerIdleConnections(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	admin := connect(t, parse(t, database))
	as, _ := ownRole(t, admin, database, "connection limit 2")
	config := parse(t, as)
	config.MaxConns, config.MinIdleConns = 4, 4
	var log logs
	pool := connect(t, config, pgpool.WithLogger(log.Logger()))
	defer pool.Close() // before the role goes
	if len(log.Lines("not all idle connections could be opened")) != 1 || len(log.Lines("wanted=4")) != 1 {
		t.Errorf("log is %q, want a warning with the number", &log)
	}
	eventually(t, func() bool { return pool.Ping(t.Context()) == nil })
}

// The server answers once and then stops answering: Connect waits for the idle connections within
// its budget.
func TestConnectGivesUpOnIdleConnections(t *testing.T) {
	t.Parallel()
	config := database(t)
	p := through(t, config, fault.Options{})
	silent := fault.NewProxy(t, config.ConnString(), fault.Options{})
	silent.Freeze(fault.Both)
	config.MaxConns, config.MinIdleConns = 2, 2
	config.ConnConfig.ConnectTimeout = 10 * time.Second
	config.AfterConnect = func(context.Context, *pgx.Conn) error {
		p.Redirect(silent.URL()) // the next connection gets no answer
		return nil
	}
	_, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(nil),
		pgpool.WithStartupTimeout(2*time.Second))
	var failed *pgpool.StartupError
	if !errors.As(err, &failed) || !errors.Is(failed.Ended, context.DeadlineExceeded) || !strings.Contains(err.Error(),
		"opened 0 of 2 idle connections") {
		t.Errorf("error is %v, want the timeout and what is missing", err)
	}
}
