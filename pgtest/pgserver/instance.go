package pgserver

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
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

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/datadir"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

//go:embed watchdog.sh
var watchdogScript string

// port names the socket file; no TCP port is opened.
const port = "5432"

// errUnwatched: the server is there and its watchdog is not.
var errUnwatched = errors.New("no watchdog")

// instance is a server's directory and this user's hold on it.
type instance struct {
	dir string
	// users is a raw descriptor: an *os.File would be closed by the garbage collector when a caller
	// keeps the URL and drops the Server.
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
	return &url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: encodeQuery(q)}
}

// lockFile names the server's directory. While the server starts, [unfinished] comes first.
func (s *spec) lockFile() string { return filepath.Join(s.cache, s.key+".lock") }

const unfinished = "?"

func (s *spec) writeLockFile(text string) error {
	return noRoom(os.WriteFile(s.lockFile(), []byte(text), 0o600), s.lockFile())
}

// discardUnfinished removes what a start left that was killed together with its watchdog.
func (s *spec) discardUnfinished() {
	b, _ := os.ReadFile(s.lockFile())
	if dir, ok := strings.CutPrefix(string(b), unfinished); ok && tree.Private(dir, s.owner.UID) == nil {
		_ = s.watch(dir, "adopt", nil)
	}
}

// join holds the server that the lock file names, if it is up.
func (s *spec) join() (*instance, error) {
	dir, err := s.running()
	if err != nil {
		return nil, err
	}
	inst, err := hold(dir)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EPIPE) { // no reader
		return nil, errUnwatched
	}
	if err != nil {
		return nil, err
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
func (s *spec) running() (string, error) {
	b, err := os.ReadFile(s.lockFile())
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(string(b)) {
		return "", errors.New("no server")
	}
	return string(b), tree.Private(string(b), s.owner.UID)
}

// adopt starts a new watchdog for a running server that lost its own. It runs under the lock.
func (s *spec) adopt() (*instance, error) {
	dir, err := s.running()
	if err != nil {
		return nil, err
	}
	if err := s.watch(dir, "adopt", nil); err != nil {
		return nil, err
	}
	return s.join()
}

// start makes a directory and a server in it. It runs under the lock.
func (s *spec) start(ctx context.Context) (*instance, error) {
	inst, cached, err := s.startOnce(ctx, false)
	if err == nil || !cached || ctx.Err() != nil || errors.Is(err, syscall.ENOSPC) ||
		!datadir.Damaged(err.Error()) {
		return inst, err
	}
	// If a new data directory is better the cached one goes. Until that is known it stays, because
	// other processes may be copying it.
	inst, _, err = s.startOnce(ctx, true)
	if err == nil {
		s.source().Forget()
	}
	return inst, err
}

// startOnce reports whether the data directory came from the cache. With fresh it must not.
func (s *spec) startOnce(ctx context.Context, fresh bool) (_ *instance, cached bool, _ error) {
	parent, err := s.parentDir()
	if err != nil {
		return nil, false, err
	}
	dir := filepath.Join(parent, "pgserver-"+strconv.FormatUint(rand.Uint64(), 36))
	if n := len(filepath.Join(dir, ".s.PGSQL."+port)); n > binaries.MaxSocketPath {
		return nil, false, fmt.Errorf("the socket path in %s would have %d bytes, more than the %d a system allows; "+
			"set TMPDIR to a shorter path", dir, n, binaries.MaxSocketPath)
	}
	if err := s.writeLockFile(unfinished + dir); err != nil {
		return nil, false, err
	}
	// The watchdog comes before the first file: it discards them if this process dies before it
	// says "start".
	guard, starter, err := os.Pipe()
	if err != nil {
		return nil, false, err
	}
	defer starter.Close()
	err = s.watch(dir, "start", guard)
	guard.Close()
	if err != nil {
		return nil, false, err
	}
	if err := s.makeDir(dir); err != nil {
		os.RemoveAll(dir) // it still belongs to this process
		return nil, false, noRoom(err, parent)
	}
	if cached, err = s.fillDataDir(ctx, dir, fresh); err != nil {
		return nil, cached, err
	}
	// Read the FIFO until the watchdog does: it cannot be opened for writing without a reader. An
	// end that stays open longer would hide a dead watchdog.
	reader, err := openFIFO(dir, syscall.O_RDONLY)
	if err != nil {
		return nil, cached, err
	}
	defer syscall.Close(reader)
	inst, err := hold(dir)
	if err != nil {
		return nil, cached, err
	}
	_, err = starter.WriteString("start\n")
	if err == nil {
		err = inst.waitReady(ctx)
	}
	if err != nil {
		inst.leave()
		return nil, cached, err
	}
	return inst, cached, nil
}

// makeDir makes the server's directory with its FIFO.
func (s *spec) makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	fifo := filepath.Join(dir, "users")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", fifo, err)
	}
	if err := s.owner.Chown(fifo); err != nil {
		return err
	}
	return s.owner.Chown(dir) // last: its owner may replace what is in it
}

func openFIFO(dir string, mode int) (int, error) {
	fifo := filepath.Join(dir, "users")
	fd, err := syscall.Open(fifo, mode|syscall.O_NONBLOCK|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", fifo, err)
	}
	var st syscall.Stat_t // what is there, if dir was replaced by a link
	if err = syscall.Fstat(fd, &st); err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		err = errors.New("not a FIFO")
	}
	if err != nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("open %s: %w", fifo, err)
	}
	return fd, nil
}

// hold makes this process a user of the server in dir. It fails with ENXIO if no watchdog reads the
// FIFO.
func hold(dir string) (*instance, error) {
	fd, err := openFIFO(dir, syscall.O_WRONLY)
	if err != nil {
		return nil, err
	}
	inst := newInstance(dir, fd)
	// The line makes a watchdog that lingers stay; see watchdog.sh.
	if _, err := syscall.Write(fd, []byte("\n")); err != nil {
		inst.leave()
		return nil, err
	}
	return inst, nil
}

// watch starts a watchdog for dir in a session of its own and returns when it is there. guard
// becomes its descriptor 3.
func (s *spec) watch(dir, mode string, guard *os.File) error {
	cmd := exec.Command("/bin/sh", "-s", mode, dir, s.bin, strconv.Itoa(int(linger/time.Second)))
	cmd.Stdin = strings.NewReader(watchdogScript)
	cmd.Dir = "/"
	cmd.Env = binaries.Environ()
	if guard != nil {
		cmd.ExtraFiles = []*os.File{guard}
	}
	cmd.SysProcAttr = s.owner.Attr()
	// Standard output is /dev/null: go test waits for every process that holds its own.
	if err := cmd.Run(); err != nil { // returns at once: the script goes on in the background
		return s.owner.explain(fmt.Errorf("start the watchdog: %w", err))
	}
	return nil
}

// waitReady returns when the server answers a query, or with its log when it exited.
func (i *instance) waitReady(ctx context.Context) error {
	for {
		err := answers(ctx, i.url().String())
		if err == nil {
			return nil
		}
		if _, e := os.Stat(filepath.Join(i.dir, "exited")); e == nil {
			return fmt.Errorf("the server exited while it was starting; its log ends:\n%s",
				logTail(i.dir))
		}
		// 2 ms: a start takes about 50, and each try is a local connect.
		if cause := sleep(ctx, 2*time.Millisecond); cause != nil {
			return fmt.Errorf("wait for the server: %w: %w; its log ends:\n%s", cause, err,
				logTail(i.dir))
		}
	}
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cfg, err := ParseConfig(url)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return conn.Ping(ctx)
}

// logTail returns the last lines of the log of the server in dir, indented.
func logTail(dir string) string {
	b, err := tree.ReadFile(dir, "log")
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
