package pgconfig_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// TestForbiddenFile reads a file as a user without the right to.
func TestForbiddenFile(t *testing.T) {
	t.Parallel()
	path := file(t, "url", "postgres://u:p@localhost/d")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // never unlocked: the thread ends with the test
		const nobody = 65534
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0) // affects this thread and files only
		defer func() { _, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0) }()
	}
	if text := refused(t, pgconfig.Source{Environ: env{"DATABASE_URL_FILE": path}}); !strings.Contains(text,
		"names a file that this user may not read") {
		t.Error(text)
	}
}

const asStarved = "PGCONFIG_TEST_STARVED"

// TestNoDescriptors: pgx needs a pipe where PGSERVICE is set in the process, and the process has no
// file descriptor left.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	if os.Getenv(asStarved) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoDescriptors$", "-test.v")
		if testing.CoverMode() != "" { // mage cover adds up the coverage of all processes
			cmd.Args = append(cmd.Args, "-test.gocoverdir="+os.Getenv("GOCOVERDIR"))
		}
		cmd.Env = append(os.Environ(), asStarved+"=1", "PGSERVICE=web")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out),
			"--- PASS: TestNoDescriptors") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	cfg := load(t, env{"DATABASE_URL": "postgres://u:p@localhost/d"})
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, pool := cfg.PoolConfig()
	_, direct := cfg.DirectConfig()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if pool == nil || !strings.Contains(pool.Error(), "open a pipe") || direct == nil {
		t.Errorf("got %v and %v", pool, direct)
	}
	if _, err := cfg.PoolConfig(); err != nil {
		t.Errorf("with descriptors again: %v", err)
	}
}
