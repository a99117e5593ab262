package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A signal ends "go tool mage serve" and all that it started, whether the signal goes to the whole
// group, as from a terminal, or to mage alone, which does not pass it on. It leaves no process, no
// file, and no database on a server that others use.
func TestServeSignals(t *testing.T) {
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(cache)))
	dir, err := os.MkdirTemp("/tmp", "serve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // root's server has another user
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("PGTEST_URL", "")
	server, err := pgserver.Acquire(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Release)
	conn, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	for name, c := range map[string]struct {
		signal syscall.Signal
		group  bool
	}{
		"SIGINT to all": {syscall.SIGINT, true}, "SIGTERM to all": {syscall.SIGTERM, true},
		"SIGHUP to all": {syscall.SIGHUP, true}, "SIGTERM to go tool mage": {syscall.SIGTERM, false},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			cmd := exec.Command("go", "tool", "mage", "serve", "-host=127.0.0.1:0", "-render=127.0.0.1:0")
			cmd.Dir = "../../.."
			cmd.Env = append(withoutDatabase(os.Environ()), "TMPDIR="+temp)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, writer := io.Pipe()
			cmd.Stdout, cmd.Stderr = writer, writer
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait(); writer.Close() }()
			site := ""
			lines := bufio.NewScanner(out)
			for site == "" && lines.Scan() {
				if rest, ok := strings.CutPrefix(lines.Text(), "the site"); ok {
					site = strings.TrimSpace(rest)
				}
			}
			go func() { _, _ = io.Copy(io.Discard, out) }()
			if site == "" {
				t.Fatalf("it did not start: %v", <-ended)
			}
			target := cmd.Process.Pid
			if c.group {
				target = -cmd.Process.Pid
			}
			if err := syscall.Kill(target, c.signal); err != nil {
				t.Error(err)
			}
			var left []string
			end := time.Now().Add(20 * time.Second)
			for ; time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				left = nil
				if err := syscall.Kill(-cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
					left = append(left, "a process")
				}
				if answer, err := http.Get(site); err == nil {
					answer.Body.Close()
					left = append(left, "a service that answers")
				}
				if files, _ := os.ReadDir(temp); len(files) > 0 {
					left = append(left, files[0].Name())
				}
				var databases int
				if err := conn.QueryRow(t.Context(),
					"select count(*) from pg_database where datname like 'serve%'").Scan(&databases); err != nil ||
					databases > 0 {
					left = append(left, "a database")
				}
				if len(left) == 0 {
					return
				}
			}
			t.Errorf("left: %q", left)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
	}
}
