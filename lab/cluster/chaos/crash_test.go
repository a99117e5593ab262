package chaos_test

import (
	"context"
	"testing"
	"time"

	"github.com/page-builder/persistence/lab/cluster/chaos"
	"github.com/page-builder/persistence/pgtest/pgserver/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A single server that crashes and restarts needs no extra packages, so this test of the load and
// the judge runs everywhere.
func TestCrashOfOneServer(t *testing.T) {
	t.Parallel()
	server := fault.NewServer(t, fault.ServerOptions{})
	url := server.URL()
	round, err := chaos.Run(t.Context(), chaos.System{
		Environ: map[string]string{"DATABASE_URL": url},
		Nodes:   []string{url},
		Primary: func(context.Context) (string, error) { return url, nil },
	}, chaos.Fault{
		Name:   "kill -9 of the only server",
		Inject: func(context.Context) error { server.Kill(t); return nil },
		Hold:   500 * time.Millisecond,
		Repair: func(context.Context) error { server.Start(t); return nil },
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
