package pgtest_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestMain: the tests wait for processes and servers far more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(childEnv) == "" {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
		if os.Getenv("PGTEST_VERSION") != "" { // root's store of downloads depends on XDG_CACHE_HOME, which tests set
			bin, err := pgserver.Binaries(context.Background(), pgserver.Options{})
			if err == nil {
				err = os.Setenv("PGTEST_BINDIR", bin)
			}
			if err != nil {
				panic(err)
			}
		}
	}
	if os.Getenv(goleakEnv) != "" {
		goleak.VerifyTestMain(m, // as in README.md
			goleak.IgnoreAnyFunction("github.com/page-builder/persistence/pgtest.background"),
			goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"))
	}
	code := m.Run()
	// Longer than goleak itself waits: copies and drops in the background must end by themselves.
	for deadline := time.Now().Add(20 * time.Second); code == 0 && os.Getenv(childEnv) == ""; {
		// pgtestdb leaves a *sql.DB open where a migration fails, as it does in some tests here.
		// And a write that took long made pgx read ahead on a connection, which goes on for as long
		// as that is idle and kept.
		err := goleak.Find(goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"),
			goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	removeInitialized()
	os.Exit(code)
}

// goleakEnv makes a child process look for goroutines as its user would.
const goleakEnv = "PGTEST_TEST_GOLEAK"

// shortDir is a directory that the server's user may enter, with a path short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
