package pgserver_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestMain lets the test binary play another process that uses a server: with childDir set it
// acquires the server in that directory, prints its URL, and holds it until its standard input
// ends.
func TestMain(m *testing.M) {
	// These tests kill and starve servers: their own, never the one that somebody named.
	if err := os.Unsetenv("PGTEST_URL"); err != nil {
		panic(err)
	}
	if dir := os.Getenv(childDir); dir != "" {
		if dir == anywhere {
			dir = ""
		}
		s, err := pgserver.Acquire(context.Background(), pgserver.Options{Dir: dir, CacheDir: os.Getenv(childCache)})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.URL())
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // without Release: the kernel gives the server up
	}
	// The tests wait for processes to end far more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	removeInitialized()
	os.Exit(code)
}

var removeInitialized = func() {} // at the end

// initialized is a cache directory with what initdb makes, which takes a second of a processor.
var initialized = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "t"); err != nil {
		return "", err
	}
	removeInitialized = func() { os.RemoveAll(dir) }
	s, err := pgserver.Acquire(context.Background(), pgserver.Options{CacheDir: dir})
	if err != nil {
		return "", err
	}
	s.Release()
	lock, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err == nil {
		err = os.Remove(lock[0]) // of the server
	}
	return dir, err
})

// warmCache is a cache for a test of what comes after initdb.
func warmCache(t testing.TB) string {
	t.Helper()
	from, err := initialized()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	if out, err := exec.Command("cp", "-r", from, cache).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return cache
}

const (
	childDir   = "PGSERVER_TEST_CHILD_DIR"
	childCache = "PGSERVER_TEST_CHILD_CACHE"
	anywhere   = "anywhere" // as childDir: where pgserver puts it
)

// user is a process that holds a server.
type user struct {
	*exec.Cmd
	url  string
	stop io.Closer // ends it in good order
}

// startUser returns when the process has the server.
func startUser(t *testing.T, dir string, adapt ...func(*exec.Cmd)) user {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	for _, a := range adapt {
		a(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		rest, _ := io.ReadAll(stdout)
		cmd.Wait()
		t.Fatalf("user process: %v: %s%s", err, line, rest)
	}
	return user{Cmd: cmd, url: strings.TrimSpace(line), stop: stdin}
}

// shortTempDir is a directory that any user may enter, with a path short enough for a socket;
// t.TempDir has neither property. When the test ends it waits until servers in it have gone: they
// must, by themselves.
func shortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory(), "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		waitFor(t, "servers to go", func() bool { return len(servers(t, dir)) == 0 })
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// memory is where files are kept in memory, if the system has such a place.
func memory() string {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		return "/tmp"
	}
	return shm
}

// servers lists the directories of servers in dir.
func servers(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "pgserver-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// processes lists the processes whose command line contains text, as "pid args".
func processes(t testing.TB, text string) []string {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// patience is what the README promises: nothing is left 10 s after the last user died.
const patience = 10 * time.Second

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func query(t testing.TB, url, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var s string
	if err := conn.QueryRow(ctx, sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func execute(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

func connectError(t testing.TB, url string) error {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err == nil {
		conn.Close(context.Background())
	}
	return err
}
