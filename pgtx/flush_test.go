package pgtx_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// execModes are the five ways pgx sends a statement. The first one does not work behind a pooler.
var execModes = func() []pgx.QueryExecMode {
	all := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	if pooled {
		return all[1:]
	}
	return all
}()

// countedConn counts the writes to the server, each of which begins a round trip.
type countedConn struct {
	net.Conn
	flushes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.flushes.Add(1)
	return c.Conn.Write(b)
}

// countFlushes returns a pool of one connection in the given mode, with the count of its flushes.
func countFlushes(t *testing.T, url string, mode pgx.QueryExecMode) (*pgxpool.Pool, *atomic.Int64) {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal("cannot parse the test database's URL")
	}
	config.MaxConns = 1
	config.ConnConfig.DefaultQueryExecMode = mode
	flushes := new(atomic.Int64)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return countedConn{conn, flushes}, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, flushes
}
