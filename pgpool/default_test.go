package pgpool_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgconfig"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Not parallel: it is about the process's environment and its one pool.
func TestDefault(t *testing.T) {
	url := pgserver.Database(t)
	t.Chdir(t.TempDir()) // no .env of ours
	t.Setenv("APP_ENV", "test")

	t.Setenv("DATABASE_URL", "postgres://app@/nowhere?host="+t.TempDir()) // no socket is there
	t.Setenv("DATABASE_STARTUP_TIMEOUT", "100ms")
	for _, err := range concurrently(t.Context(), 8, nil) {
		var failed *pgpool.StartupError
		if !errors.As(err, &failed) {
			t.Fatalf("error is %v, want a StartupError", err)
		}
	}

	// The failed attempt is not kept.
	t.Setenv("DATABASE_URL", url)
	t.Setenv("DATABASE_STARTUP_TIMEOUT", "1m")
	var pools sync.Map
	for _, err := range concurrently(t.Context(), 16, &pools) {
		if err != nil {
			t.Fatal(err)
		}
	}
	first := onlyPool(t, &pools)
	if again, err := pgpool.Default(t.Context()); again != first || err != nil {
		t.Errorf("once connected: another pool, or %v", err)
	}

	if err := pgpool.Shutdown(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second, err := pgpool.Default(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Error("after Shutdown the closed pool is returned")
	}
	if err := second.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	second.Close() // and without Shutdown
	third, err := pgpool.Default(t.Context(), pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Ping(t.Context()); err != nil || third == second {
		t.Errorf("after Close the closed pool is returned: %v", err)
	}
	if err := pgpool.Shutdown(t.Context(), third); err != nil {
		t.Error(err)
	}
}

// An invalid environment gives pgconfig's error, and no pool is kept.
func TestDefaultWithoutConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("APP_ENV", "test")
	t.Setenv("DATABASE_URL", "")
	_, err := pgpool.Default(t.Context())
	var wrong *pgconfig.Error
	if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "connect: ") ||
		!strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("error is %v, want what is not set", err)
	}
}

// Callers stop waiting when their contexts end, and no attempt is left running.
func TestDefaultStopsWaitingWithContext(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("APP_ENV", "test")
	reached := make(chan struct{}, 1)
	t.Setenv("DATABASE_URL", "postgres://app@"+hangUp(t, reached)+"/nowhere?sslmode=disable")
	t.Setenv("DATABASE_STARTUP_TIMEOUT", "off") // only the callers' giving up ends it: goleak checks that it does
	if _, err := pgpool.Default(canceled(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan []error)
	go func() { result <- concurrently(ctx, 4, nil) }()
	<-reached // an attempt is under way
	cancel()
	for _, err := range <-result {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
	}
}

// If the context of the caller that connects ends, the next one connects.
func TestDefaultGoesOnForTheNextCaller(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("APP_ENV", "test")
	reached := make(chan struct{}, 1)
	t.Setenv("DATABASE_URL", "postgres://app@"+hangUp(t, reached)+"/nowhere?sslmode=disable")
	t.Setenv("DATABASE_STARTUP_TIMEOUT", "off")
	first, giveUp := context.WithCancel(t.Context())
	result := make(chan []error, 2)
	go func() { result <- concurrently(first, 1, nil) }()
	<-reached
	next, end := context.WithCancel(t.Context())
	go func() { result <- concurrently(next, 1, nil) }()
	giveUp()
	if err := (<-result)[0]; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	select { // the first caller's last attempt
	case <-reached:
	default:
	}
	<-reached
	end()
	if err := (<-result)[0]; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

// hangUp listens on the address it returns, closes every connection at once and signals the first.
func hangUp(t *testing.T, reached chan<- struct{}) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
			select {
			case reached <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func concurrently(ctx context.Context, callers int, pools *sync.Map) []error {
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			pool, err := pgpool.Default(ctx)
			errs[i] = err
			if pools != nil {
				pools.Store(pool, true)
			}
		}()
	}
	group.Wait()
	return errs
}

func onlyPool(t *testing.T, pools *sync.Map) *pgxpool.Pool {
	t.Helper()
	var found []*pgxpool.Pool
	pools.Range(func(pool, _ any) bool {
		found = append(found, pool.(*pgxpool.Pool))
		return true
	})
	if len(found) != 1 || found[0] == nil {
		t.Fatalf("%d pools, want the same one for all", len(found))
	}
	return found[0]
}
