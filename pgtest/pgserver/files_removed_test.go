package pgserver_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Somebody cleans the temporary directory up while the server runs: its watchdog ends with its
// users all the same, and the server, whom nothing can reach any more, with the loss of its lock
// file.
func TestWatchdogOfRemovedFilesEnds(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	only := startUser(t, dir)
	found := servers(t, dir)
	if len(found) != 1 {
		t.Fatalf("servers: %v", found)
	}
	watchdogs := func() int {
		n := 0
		for _, p := range processes(t, found[0]) {
			if strings.Contains(p, "sh -s ") {
				n++
			}
		}
		return n
	}
	if watchdogs() == 0 {
		t.Fatal("no watchdog found while the server runs: this test would not see one that is left")
	}
	pid := postmaster(t, found[0])
	if err := os.RemoveAll(found[0]); err != nil {
		t.Fatal(err)
	}
	only.Process.Kill()
	only.Wait()
	// It looks after its lock file once a minute. The signal is the one that it gives itself then.
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the watchdog to end", func() bool { return watchdogs() == 0 })
	waitFor(t, "the server's processes to end", func() bool { return len(processes(t, found[0])) == 0 })
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
