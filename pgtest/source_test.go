package pgtest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest"
)

// Eight tests at a time never keep more than 16 databases, and a process that then waits keeps few.
func TestBoundedNumberOfDatabases(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	cmd := child(t, "TestChildEightAtATime", env)
	cmd.Args = append(cmd.Args, "-test.parallel=8")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestChildEightAtATime(t *testing.T) {
	onlyAsChild(t)
	conn, err := pgx.Connect(t.Context(), adminURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	number := func() (n int) {
		if err := conn.QueryRow(context.Background(),
			"select count(*) from pg_database where datname ~ '^pgtest_[0-9a-f]{8}_'").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	done, most := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				most <- n
				return
			case <-time.After(2 * time.Millisecond):
				n = max(n, number())
			}
		}
	}()
	var rounds [5]sync.WaitGroup
	t.Run("tests", func(t *testing.T) {
		for i := range rounds {
			rounds[i].Add(8)
		}
		var started atomic.Int32
		for range 8 * len(rounds) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				round := &rounds[(started.Add(1)-1)/8]
				exec(t, pgtest.New(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
				round.Done()
				round.Wait() // so that eight are there
			})
		}
	})
	close(done)
	if n := <-most; n > 16 || n < 8 {
		t.Errorf("%d databases at a time, want 8 to 16", n)
	}
	for deadline := time.Now().Add(time.Minute); number() > 4; time.Sleep(5 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatalf("%d databases when idle, want at most 4", number())
		}
	}
}
