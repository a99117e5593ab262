package fault_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// A test process is killed at any step: its servers, poolers and sockets go with it.
// FAULT_TEST_KILLS is the number of kills.
func TestNothingOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	kills, err := strconv.Atoi(os.Getenv("FAULT_TEST_KILLS"))
	if err != nil {
		kills = 4
	}
	for i := range kills {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestChildKit$")
			cmd.Env = append(os.Environ(), childEnv+"=1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			step := time.Duration(i)*2*time.Second/time.Duration(kills) + rand.N(200*time.Millisecond)
			time.Sleep(step)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			prefix := fmt.Sprintf("fault-%d-", cmd.Process.Pid)
			t.Logf("killed after %s, with %q", step, ownedDirs(t, prefix))
			until(t, "processes and directories to go", func() bool {
				return processes(t, prefix) == "" && len(ownedDirs(t, prefix)) == 0
			})
		})
	}
}

func ownedDirs(t *testing.T, prefix string) (found []string) {
	t.Helper()
	for _, parent := range []string{"/dev/shm", os.TempDir(), "/tmp", "/var/tmp"} {
		dirs, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return found
}

const childEnv = "FAULT_TEST_CHILD"

// TestChildKit uses all that starts a program or makes a directory, until it is killed.
func TestChildKit(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("runs as a child")
	}
	for {
		s := fault.NewServer(t, fault.ServerOptions{TCP: true})
		fault.NewProxy(t, s.URL(), fault.Options{Unix: true})
		b := fault.NewPgBouncer(t, s.URL(), nil)
		execute(t, connect(t, b.URL(), simple), "select 1")
		s.Kill(t)
		s.Start(t)
		s.Standby(t, nil)
	}
}
