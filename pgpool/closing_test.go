package pgpool_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgpool"
)

// A cancel request that overtakes its statement finds nothing to cancel, so it is sent again.
func TestCancelIsRepeated(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 1
	watcher := connect(t, config)
	// With this setting the server would notice on its own.
	config.ConnConfig.RuntimeParams["client_connection_check_interval"] = "0"
	var lose atomic.Bool
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if lose.CompareAndSwap(true, false) { // the first cancel request
			near, far := net.Pipe()
			go func() {
				_, _ = io.ReadFull(far, make([]byte, 16))
				far.Close()
			}()
			return near, nil
		}
		return dial(ctx, network, address)
	}
	pool := connect(t, config, pgpool.WithServerLimits(pgpool.ServerLimits{}))
	conn := acquire(t, pool)
	pid := conn.Conn().PgConn().PID()
	lose.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, `select pg_sleep(60)`); err == nil {
		t.Fatal("slept through")
	}
	conn.Release()
	eventually(t, func() bool {
		var running bool
		if err := watcher.QueryRow(t.Context(), `select exists (select from pg_stat_activity where pid = $1)`,
			pid).Scan(&running); err != nil {
			t.Error(err)
		}
		return !running
	})
}
