package pgserver

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed watchdog.sh
var watchdogScript []byte

// port names the socket file; no TCP port is opened.
const port = "5432"

// errUnwatched: the server is there and its watchdog is not.
var errUnwatched = errors.New("no watchdog")

// instance is a server's directory and this user's hold on it.
type instance struct {
	dir string
	// users is a raw descriptor: an *os.File would be closed by the garbage collector when a caller keeps the URL and
	// drops the Server.
	users int
	leave func()
}

func newInstance(dir string, users int) *instance {
	return &instance{dir: dir, users: users, leave: sync.OnceFunc(func() { syscall.Close(users) })}
}

func (i *instance) socket() string { return filepath.Join(i.dir, ".s.PGSQL."+port) }

func (i *instance) url() *url.URL { return socketURL(i.dir, port, "postgres") }

func socketURL(dir, port, database string) *url.URL {
	q := url.Values{"host": {dir}, "port": {port}}
	return &url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: q.Encode()}
}

// join holds the server that the lock file names, if it is up.
func (s *spec) join(lockFile string) (*instance, error) {
	dir, err := s.running(lockFile)
	if err != nil {
		return nil, err
	}
	fifo := filepath.Join(dir, "users")
	fd, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENXIO) { // nobody reads
		return nil, errUnwatched
	}
	if err != nil {
		return nil, err
	}
	inst := newInstance(dir, fd)
	// The byte makes a watchdog that lingers stay; see watchdog.sh.
	if _, err := syscall.Write(fd, []byte("\n")); err != nil {
		inst.leave()
		return nil, errUnwatched
	}
	c, err := net.Dial("unix", inst.socket())
	if err != nil { // the server died: let its watchdog tidy up
		inst.leave()
		return nil, err
	}
	c.Close()
	return inst, nil
}

// running returns the directory that the lock file names, if it is ours.
func (s *spec) running(lockFile string) (string, error) {
	b, err := os.ReadFile(lockFile)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(string(b)) {
		return "", errors.New("no server")
	}
	return string(b), private(string(b), s.owner.id())
}

// adopt starts a new watchdog for a running server that lost its own. It runs under the lock.
func (s *spec) adopt(lockFile string) (*instance, error) {
	dir, err := s.running(lockFile)
	if err != nil {
		return nil, err
	}
	inst, err := s.watch(dir, "adopt")
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("unix", inst.socket())
	if err != nil {
		inst.leave()
		return nil, err
	}
	c.Close()
	return inst, nil
}

// start makes a directory and a server in it. It runs under the lock.
func (s *spec) start(ctx context.Context) (*instance, error) {
	inst, cached, err := s.startOnce(ctx)
	if err == nil || !cached || ctx.Err() != nil || errors.Is(err, syscall.ENOSPC) {
		return inst, err
	}
	// A machine that crashed may have left the cached data directory half on disk: make it anew.
	if err := os.RemoveAll(s.cachedDataDir()); err != nil {
		return nil, err
	}
	inst, _, err = s.startOnce(ctx)
	return inst, err
}

// startOnce reports whether the data directory came from the cache.
func (s *spec) startOnce(ctx context.Context) (_ *instance, cached bool, _ error) {
	parent, err := s.parentDir()
	if err != nil {
		return nil, false, err
	}
	dir, err := os.MkdirTemp(parent, "pgserver-")
	if err != nil {
		return nil, false, err
	}
	inst, err := s.prepare(dir)
	if err != nil {
		return nil, false, errors.Join(err, os.RemoveAll(dir))
	}
	// From here on the watchdog removes dir when inst is left.
	cached, err = s.fillDataDir(ctx, dir)
	if err == nil {
		_, err = syscall.Write(inst.users, []byte("start\n\n")) // its own line of joining, too
	}
	if err == nil {
		err = inst.waitReady(ctx)
	}
	if err != nil {
		inst.leave()
		return nil, cached, err
	}
	return inst, cached, nil
}

// prepare puts the FIFO and the watchdog in place. After it returned without an error, leaving the instance removes
// the directory.
func (s *spec) prepare(dir string) (*instance, error) {
	if n := len(filepath.Join(dir, ".s.PGSQL."+port)); n > maxSocketPath {
		return nil, fmt.Errorf("the socket path in %s would have %d bytes, more than the %d a system allows; "+
			"set TMPDIR to a shorter path", dir, n, maxSocketPath)
	}
	if err := s.owner.chown(dir); err != nil {
		return nil, err
	}
	fifo := filepath.Join(dir, "users")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", fifo, err)
	}
	if err := s.owner.chown(fifo); err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "watchdog")
	if err := os.WriteFile(script, watchdogScript, 0o600); err != nil {
		return nil, err
	}
	if err := s.owner.chown(script); err != nil {
		return nil, err
	}
	return s.watch(dir, "start")
}

// maxSocketPath is the least of the systems' sun_path sizes (macOS: 104), without the final zero.
const maxSocketPath = 103

// watch starts a watchdog on dir's FIFO and holds the FIFO for this process. The read end is handed to the watchdog
// already open, so that there is no moment in which a living watchdog looks dead.
func (s *spec) watch(dir, mode string) (*instance, error) {
	fifo := filepath.Join(dir, "users")
	r, err := syscall.Open(fifo, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", fifo, err)
	}
	reader := os.NewFile(uintptr(r), fifo)
	defer reader.Close() // an end kept here would hide a dead watchdog
	w, err := syscall.Open(fifo, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", fifo, err)
	}
	inst := newInstance(dir, w)
	if err := syscall.SetNonblock(r, false); err != nil { // cat would get EAGAIN
		inst.leave()
		return nil, err
	}
	cmd := exec.Command("/bin/sh", filepath.Join(dir, "watchdog"), mode, dir, s.bin,
		strconv.Itoa(int(linger/time.Second)))
	cmd.Dir = "/"
	cmd.Env = serverEnv()
	cmd.ExtraFiles = []*os.File{reader} // descriptor 3
	cmd.SysProcAttr = s.owner.attr()
	// Standard output is /dev/null: go test waits for whoever holds its own.
	if err := cmd.Run(); err != nil { // returns at once: the script goes on in the background
		inst.leave()
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return inst, nil
}

// serverEnv is the environment of the server's processes. The caller's may hold secrets that the server's user must
// not see, and PG* variables that would change the server.
func serverEnv() []string {
	env := []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	for _, k := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// waitReady returns when the server answers a query, or with its log when it exited.
func (i *instance) waitReady(ctx context.Context) error {
	for {
		err := answers(ctx, i.url().String())
		if err == nil {
			return nil
		}
		if _, e := os.Stat(filepath.Join(i.dir, "exited")); e == nil {
			return fmt.Errorf("the server exited while it was starting; its log ends:\n%s", logTail(filepath.Join(i.dir, "log")))
		}
		// 2 ms: a start takes about 50, and each try is a local connect.
		if cause := sleep(ctx, 2*time.Millisecond); cause != nil {
			return fmt.Errorf("wait for the server: %w: %w; its log ends:\n%s", cause, err, logTail(filepath.Join(i.dir, "log")))
		}
	}
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx)
}

// logTail returns the last lines of a server's log, indented.
func logTail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
