package pgserver_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A machine without the memory that the server wants: the error shows what the server said.
func TestNotEnoughMemory(t *testing.T) {
	t.Parallel()
	overcommit, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || strings.TrimSpace(string(overcommit)) == "1" {
		t.Skipf("%s promises memory that it does not have", runtime.GOOS)
	}
	_, err = pgserver.Acquire(context.Background(), pgserver.Options{
		Dir: shortTempDir(t), CacheDir: warmCache(t),
		Settings: map[string]string{"shared_buffers": "7TB", "huge_pages": "off"},
	})
	if err == nil || !strings.Contains(err.Error(), "shared memory") || !strings.Contains(err.Error(), "its log ends") {
		t.Errorf("got %v", err)
	}
}

// The data goes to /dev/shm only where that has room for more than the server alone: Docker gives
// containers 64 MB there.
func TestSmallSharedMemoryIsLeftAlone(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no /dev/shm on this system")
	}
	tmp, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		waitFor(t, "servers to go", func() bool { return len(servers(t, tmp)) == 0 })
		if err := os.Remove(tmp); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ size, want string }{{"512m", tmp}, {"1100m", "/dev/shm"}} {
		// A mount namespace of its own: nobody else sees that /dev/shm.
		mount := "mount -t tmpfs -o mode=1777,size=" + c.size + " tmpfs /dev/shm"
		if out, err := exec.Command("unshare", "--mount", "/bin/sh", "-c", mount).CombinedOutput(); err != nil {
			t.Skipf("this system does not let root mount: %s", out)
		}
		u := startUser(t, anywhere, func(cmd *exec.Cmd) {
			binary := cmd.Path
			unshare, err := exec.LookPath("unshare")
			if err != nil {
				t.Fatal(err)
			}
			cmd.Path, cmd.Args = unshare, []string{
				"unshare", "--mount", "/bin/sh", "-c", mount + ` && exec "$0"`, binary,
			}
			// A cache of its own: the server that other processes share is not to be joined.
			cmd.Env = append(cmd.Env, "TMPDIR="+tmp, childCache+"="+warmCache(t))
		})
		if !strings.Contains(u.url, strings.ReplaceAll(c.want, "/", "%2F")+"%2Fpgserver-") {
			t.Errorf("/dev/shm of %s: the server is at %s, want it in %s", c.size, u.url, c.want)
		}
		u.stop.Close()
		u.Wait()
	}
}
