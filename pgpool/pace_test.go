package pgpool_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// While the server is down, callers do not each start a connect. The pool tries at its own pace,
// and callers get the error of that attempt. When the server is back, the pool works again.
func TestFailingConnectsArePaced(t *testing.T) {
	t.Parallel()
	config := database(t)
	config.MaxConns = 8
	var refuse atomic.Bool
	var dials atomic.Int64
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !refuse.Load() {
			return dial(ctx, network, address)
		}
		dials.Add(1)
		return dial(ctx, "unix", "/nowhere/.s.PGSQL.5432")
	}
	pool := connect(t, config, pgpool.WithAcquireTimeout(time.Minute))
	refuse.Store(true)
	pool.Reset()
	began := time.Now()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 10 {
				if _, err := pool.Exec(t.Context(), `select 1`); pgerr.Of(err) != pgerr.Refused {
					t.Errorf("error is %v of category %s, want refused", err, pgerr.Of(err))
				}
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	// 160 calls failed. The first are eight at once, before any has failed; then one goes after 125
	// ms on average, and until the waits have grown, a few more.
	if most := 16 + int64(took/(40*time.Millisecond)); dials.Load() > most {
		t.Errorf("%d connects in %s, want at most %d", dials.Load(), took, most)
	}
	// Callers behind a failed connect got its error and did not connect themselves.
	if dials.Load() > 80 {
		t.Errorf("%d connects for 160 calls, want most calls to share one", dials.Load())
	}
	t.Logf("160 calls, %d connects in %s", dials.Load(), took)

	refuse.Store(false)
	eventually(t, func() bool { return pool.Ping(t.Context()) == nil })
	nothingIsLeft(t, pool)
}

// Connect waits longer while the server is full than while it is down, because each refusal costs
// the server a process.
func TestConnectWaitsLongerWhileTheServerIsFull(t *testing.T) {
	t.Parallel()
	config := database(t)
	admin := connect(t, config.Copy())
	role := pgx.Identifier{"crowded_" + config.ConnConfig.Database}.Sanitize()
	for _, sql := range []string{
		`create role ` + role + ` login connection limit 0`, `grant all on schema public to ` + role,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if _, err := admin.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role+`; drop role `+role,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
	}()
	config.ConnConfig.User = strings.Trim(role, `"`)
	var once sync.Once
	log := logs{OnWrite: func(line string) {
		_, text, found := strings.Cut(strings.TrimSpace(line), "category=too_many_connections")
		if !found {
			return
		}
		wait, err := time.ParseDuration(strings.Fields(text[strings.LastIndex(text, "wait=")+len("wait="):])[0])
		if err != nil {
			t.Error(err)
		}
		if wait <= 250*time.Millisecond {
			return
		}
		once.Do(func() {
			if _, err := admin.Exec(t.Context(), `alter role `+role+` connection limit -1`); err != nil {
				t.Error(err)
			}
		})
	}}
	pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithLogger(log.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
}

// If the server has no room for a connect, the error of callers behind it says what to set.
func TestRefusedForWantOfRoomSaysWhatToSet(t *testing.T) {
	t.Parallel()
	database := pgserver.Database(t)
	as, _ := ownRole(t, connect(t, parse(t, database)), database, "connection limit 1")
	config := parse(t, as)
	config.MaxConns, config.MinIdleConns = 5, 0
	pool := connect(t, config)
	var conn *pgxpool.Conn
	eventually(t, func() (ok bool) { // when the server has forgotten the connections of the start
		var err error
		conn, err = pool.Acquire(t.Context())
		return err == nil
	})
	t.Cleanup(conn.Release)
	told := func() bool {
		failures := make(chan error)
		for range 4 {
			go func() { _, err := pool.Exec(t.Context(), `select 1`); failures <- err }()
		}
		told := false
		for range 4 {
			err := <-failures
			if pgerr.Of(err) != pgerr.TooManyConnections {
				t.Errorf("error is %v, want 53300", err)
			}
			told = told || strings.Contains(err.Error(), "lower DATABASE_POOL_MAX_CONNS")
		}
		return told
	}
	eventually(t, told)
}
