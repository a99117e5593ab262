package pgserver_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func acquire(t testing.TB, opts pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Acquire(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	return s
}

func TestAcquireSharesOneServer(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	a, b := acquire(t, pgserver.Options{Dir: dir}), acquire(t, pgserver.Options{Dir: dir})
	if a.URL() != b.URL() {
		t.Fatalf("two servers: %s and %s", a.URL(), b.URL())
	}
	other := acquire(t, pgserver.Options{Dir: dir, Settings: map[string]string{"max_prepared_transactions": "3"}})
	if other.URL() == a.URL() {
		t.Fatal("other settings got the same server")
	}
	if got := query(t, other.URL(), "show max_prepared_transactions"); got != "3" {
		t.Fatalf("max_prepared_transactions = %s", got)
	}
	a.Release()
	a.Release() // has no effect on b
	if got := query(t, b.URL(), "select 'up'"); got != "up" {
		t.Fatal(got)
	}
}

func TestNoTCPAndPrivateDirectory(t *testing.T) {
	t.Parallel()
	s := acquire(t, pgserver.Options{})
	if got := query(t, s.URL(), "show listen_addresses"); got != "" {
		t.Errorf("listen_addresses = %q", got)
	}
	fi, err := os.Stat(query(t, s.URL(), "show unix_socket_directories"))
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o700 {
		t.Errorf("socket directory has mode %v", fi.Mode())
	}
}

// Eight processes with an empty cache at once: one makes the data directory and starts the server,
// all use it.
func TestConcurrentColdStart(t *testing.T) {
	t.Parallel()
	dir, cache := shortTempDir(t), t.TempDir()
	if err := os.Chmod(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	var (
		wg    sync.WaitGroup
		users = make([]user, 8)
	)
	for i := range users {
		wg.Go(func() {
			users[i] = startUser(t, dir, func(c *exec.Cmd) { c.Env = append(c.Env, childCache+"="+cache) })
		})
	}
	wg.Wait()
	for _, u := range users {
		if u.Cmd == nil {
			t.FailNow() // startUser said why
		}
		if u.url != users[0].url {
			t.Errorf("%s beside %s", u.url, users[0].url)
		}
	}
	if n := len(servers(t, dir)); n != 1 {
		t.Errorf("%d servers", n)
	}
	for _, u := range users {
		u.stop.Close()
		u.Wait()
	}
}

// However its users end, the server goes: here by kill -9, of the one that started it first.
func TestNothingIsLeftAfterKill(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	starter, joiner := startUser(t, dir), startUser(t, dir)
	if starter.url != joiner.url {
		t.Fatalf("two servers: %s and %s", starter.url, joiner.url)
	}
	starter.Process.Kill()
	starter.Wait()
	if got := query(t, joiner.url, "select 'up'"); got != "up" {
		t.Fatal(got)
	}
	if len(processes(t, dir)) == 0 {
		t.Fatal("no process found while the server runs: this test would not see one that is left")
	}
	joiner.Process.Kill()
	joiner.Wait()
	waitFor(t, "the server's processes and files to go", func() bool {
		return len(processes(t, dir)) == 0 && len(servers(t, dir)) == 0
	})
}

// A process that is killed while it starts a server leaves nothing either.
func TestNothingIsLeftAfterKillDuringStart(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	for range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the start to begin", func() bool { return len(servers(t, dir)) > 0 })
		cmd.Process.Kill()
		cmd.Wait()
		waitFor(t, "its files to go", func() bool { return len(processes(t, dir)) == 0 && len(servers(t, dir)) == 0 })
	}
}

// A start that is killed with its watchdog leaves files, and maybe a server, until the next
// Acquire.
func TestKillOfAStartAndItsWatchdog(t *testing.T) {
	t.Parallel()
	dir, cache := shortTempDir(t), warmCache(t)
	withCache := func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, childDir+"="+dir, childCache+"="+cache) }
	for _, until := range []string{"", "users", "data/postmaster.pid"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = os.Environ()
		withCache(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the start to get to "+until, func() bool {
			found, _ := filepath.Glob(filepath.Join(dir, "pgserver-*", until))
			return len(found) > 0
		})
		cmd.Process.Signal(syscall.SIGSTOP) // its end would tell the watchdog
		killProcesses(t, filepath.Join(dir, "pgserver-"), "sh -s start ")
		cmd.Process.Kill()
		cmd.Wait()
		u := startUser(t, dir, withCache)
		u.stop.Close()
		u.Wait()
		waitFor(t, "the files to go", func() bool { return len(processes(t, dir)) == 0 && len(servers(t, dir)) == 0 })
	}
}

// kill -9 of go test and all it started, as a CI runner does it on cancellation.
func TestNothingIsLeftAfterGoTestIsKilled(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	dir := shortTempDir(t)
	cmd := exec.Command("go", "test", "-count=1", "-run=^TestHold$", ".")
	cmd.Env = append(os.Environ(), holdDir+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	ready := false
	deadline := time.Now().Add(2 * time.Minute)
	for ; !ready && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // polls
		_, err := os.Stat(filepath.Join(dir, "held")) // compiling comes first
		ready = err == nil
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if !ready {
		t.Fatal("go test did not get to its server within 2 minutes")
	}
	os.Remove(filepath.Join(dir, "held"))
	waitFor(t, "the server's processes and files to go", func() bool {
		return len(processes(t, dir)) == 0 && len(servers(t, dir)) == 0
	})
}

const holdDir = "PGSERVER_TEST_HOLD_DIR"

// TestHold is the test that TestNothingIsLeftAfterGoTestIsKilled kills.
func TestHold(t *testing.T) {
	dir := os.Getenv(holdDir)
	if dir == "" {
		t.Skip("run by TestNothingIsLeftAfterGoTestIsKilled")
	}
	acquire(t, pgserver.Options{Dir: dir})
	if err := os.WriteFile(filepath.Join(dir, "held"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {} // until killed
}

// A server outlives the gap between two test packages.
func TestJoinWhileLingering(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	first := startUser(t, dir)
	first.stop.Close()
	first.Wait()
	if second := acquire(t, pgserver.Options{Dir: dir}); second.URL() != first.url {
		t.Errorf("the server did not wait: %s, then %s", first.url, second.URL())
	}
}

// Processes that come and go all the time around the server's end always get one that works.
func TestUseAroundShutdown(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	seen := map[string]bool{}
	// The pauses straddle the server's linger of 3 s, to come before, at and after the moment it
	// gives up.
	for i, pause := range []time.Duration{0, 2980, 3020, 3060} {
		u := startUser(t, dir)
		if got := query(t, u.url, "select 'up'"); got != "up" {
			t.Fatalf("round %d: %s", i, got)
		}
		seen[u.url] = true
		u.stop.Close()
		u.Wait()
		time.Sleep(pause * time.Millisecond) // the time itself is what is tested
	}
	t.Logf("%d servers", len(seen))
}

// A killed watchdog is replaced by whoever comes next, and the server still ends with its users.
func TestKilledWatchdogIsReplaced(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	first := startUser(t, dir)
	// Stopped, it cannot be the one that replaces it.
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	killProcesses(t, filepath.Join(dir, "pgserver-"), "sh -s start ")
	second := startUser(t, dir)
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if first.url != second.url {
		t.Errorf("a second server: %s beside %s", second.url, first.url)
	}
	first.stop.Close()
	first.Wait()
	if got := query(t, second.url, "select 'up'"); got != "up" {
		t.Fatal(got)
	}
	second.stop.Close()
	second.Wait()
	waitFor(t, "the server's processes and files to go", func() bool {
		return len(processes(t, dir)) == 0 && len(servers(t, dir)) == 0
	})
}

// When the server itself is killed, the next Acquire starts another.
func TestKilledServerIsReplaced(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	a := acquire(t, pgserver.Options{Dir: dir})
	pid := query(t, a.URL(), "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server to refuse", func() bool {
		conn, err := pgx.Connect(context.Background(), a.URL())
		if err == nil {
			conn.Close(context.Background())
		}
		return err != nil
	})
	b := acquire(t, pgserver.Options{Dir: dir})
	if a.URL() == b.URL() {
		t.Fatal("got the dead server")
	}
	if got := query(t, b.URL(), "select 'up'"); got != "up" {
		t.Fatal(got)
	}
}

// A cached data directory that a crash left half on disk is made anew.
func TestBrokenCacheHeals(t *testing.T) {
	t.Parallel()
	cache := warmCache(t)
	control, err := filepath.Glob(filepath.Join(cache, "initdb-*", "global", "pg_control"))
	if err != nil || len(control) != 1 {
		t.Fatalf("%v %v", control, err)
	}
	if err := os.Truncate(control[0], 0); err != nil {
		t.Fatal(err)
	}
	// What processes left that were killed while they filled it: one long ago, one a moment ago,
	// which may still be at it.
	old, young := filepath.Join(cache, "partial-old"), filepath.Join(cache, "partial-young")
	before := time.Now().Add(-2 * time.Hour)
	if err := errors.Join(os.Mkdir(old, 0o700), os.Mkdir(young, 0o700), os.Chtimes(old, before, before)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first heals, the second fills the cache
		s := acquire(t, pgserver.Options{Dir: shortTempDir(t), CacheDir: cache})
		if got := query(t, s.URL(), "select 'up'"); got != "up" {
			t.Fatal(got)
		}
	}
	if fi, err := os.Stat(control[0]); err != nil || fi.Size() == 0 {
		t.Errorf("the cache is still broken: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "partial-*")); err != nil ||
		!slices.Equal(left, []string{young}) {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

// An invalid setting is the caller's mistake: the error shows what the server said, and the cached
// data directory, which others copy meanwhile, stays.
func TestBadSettingShowsTheLog(t *testing.T) {
	t.Parallel()
	cache := warmCache(t)
	made, err := filepath.Glob(filepath.Join(cache, "initdb-*"))
	if err != nil || len(made) != 1 {
		t.Fatalf("%v %v", made, err)
	}
	before, err := os.Stat(made[0])
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"shared_buffers": `invalid value for parameter "shared_buffers"`,
		// After the configuration: blamed on the data directory at first.
		"shared_preload_libraries": `could not access file "many"`,
	} {
		_, err := pgserver.Acquire(context.Background(), pgserver.Options{
			Dir: shortTempDir(t), CacheDir: cache, Settings: map[string]string{setting: "many"},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", setting, err)
		}
	}
	if after, err := os.Stat(made[0]); err != nil || !os.SameFile(before, after) ||
		!before.ModTime().Equal(after.ModTime()) {
		t.Errorf("the cache did not stay: %v", err)
	}
}

func TestAcquireHonoursContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("had enough")
	cancel(cause)
	_, err := pgserver.Acquire(ctx, pgserver.Options{Dir: shortTempDir(t)})
	if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// Root's server runs as somebody else; an ordinary user's as that user. The tests run as either:
// root plays both.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	dir, home := shortTempDir(t), shortTempDir(t)
	binary := filepath.Join(home, "pgserver.test") // go test's own directory is closed to others
	// Copied by another process: written by this one, it would be "text file busy" while a sibling
	// test forks.
	if out, err := exec.Command("cp", os.Args[0], binary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		os.Remove(binary)
		os.RemoveAll(filepath.Join(home, ".cache"))
	})
	ordinary := func(c *exec.Cmd) {
		c.Path, c.Args[0] = binary, binary
		c.Dir = home
		c.Env = append(c.Env, "HOME="+home, "XDG_CACHE_HOME=")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	closed := exec.Command(binary)
	closed.Env = append(os.Environ(), childDir+"="+t.TempDir()) // root's
	ordinary(closed)
	if out, err := closed.CombinedOutput(); err == nil || !strings.Contains(string(out), "no room for a server") ||
		!strings.Contains(string(out), "permission denied") || !strings.Contains(string(out),
		"that user 65534 can enter") {
		t.Errorf("in a directory of somebody else: %v: %s", err, out)
	}
	u := startUser(t, dir, ordinary)
	fi, err := os.Stat(query(t, u.url, "show data_directory"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := fi.Sys().(*syscall.Stat_t).Uid; uid != 65534 {
		t.Errorf("the data belongs to user %d", uid)
	}
	u.stop.Close()
	u.Wait()
}

// killProcesses kills the processes whose command line contains all texts.
func killProcesses(t *testing.T, texts ...string) {
	t.Helper()
	killed := 0
	for _, p := range processes(t, texts[0]) {
		if !strings.Contains(p, texts[1]) {
			continue
		}
		pid, err := strconv.Atoi(strings.Fields(p)[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		killed++
	}
	if killed == 0 {
		t.Fatalf("no process with %q", texts)
	}
	waitFor(t, "the killed to be gone", func() bool {
		return !slices.ContainsFunc(processes(t, texts[0]), func(p string) bool {
			return strings.Contains(p, texts[1])
		})
	})
}
