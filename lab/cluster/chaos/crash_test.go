package chaos_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/cluster/chaos"
	"github.com/page-builder/persistence/pgtest/pgserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One server that crashes and is started again needs no packages: the load and the judge are tested
// on it everywhere.
func TestCrashOfOneServer(t *testing.T) {
	t.Parallel()
	server, url := startServer(t)
	round, err := chaos.Run(t.Context(), chaos.System{
		Environ: map[string]string{"DATABASE_URL": url},
		Nodes:   []string{url},
		Primary: func(context.Context) (string, error) { return url, nil },
	}, chaos.Fault{
		Name:   "kill -9 of the only server",
		Inject: func(context.Context) error { return killPostmaster(server) },
		Hold:   500 * time.Millisecond,
		Repair: func(ctx context.Context) error { return restart(ctx, server) },
	}, chaos.Options{Log: t.Output(), Calm: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", round)
	for _, broken := range round.Broken {
		t.Error(broken)
	}
	if round.Ours[0].Verdict.Acknowledged == 0 || round.Ours[1].Verdict.Acknowledged == 0 ||
		round.Control.Verdict.Acknowledged == 0 {
		t.Error("a side made no transfers")
	}
	if round.Checks == 0 || round.Events == 0 || round.Listens < 2 || round.Floor < 500*time.Millisecond {
		t.Errorf("the fault was not met: %+v", round)
	}
}

func startServer(t *testing.T) (server pgserver.Dev, url string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pc")
	if err == nil {
		err = os.Chmod(dir, 0o755) // holds no secret; the server's user has to enter it
	}
	if err != nil {
		t.Fatal(err)
	}
	server = pgserver.Dev{Name: "s", Dir: dir}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := server.Remove(ctx); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	if url, err = server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server, url
}

func killPostmaster(server pgserver.Dev) error {
	text, err := os.ReadFile(filepath.Join(server.Dir, server.Name, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// restart tries for a while: the processes of a postmaster that was killed take a moment to end.
func restart(ctx context.Context, server pgserver.Dev) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := server.Start(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
