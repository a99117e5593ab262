package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// asCommand makes the test binary the command.
const asCommand = "PGSERVER_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(runAll(m))
}

// runAll gives the tests development servers of their own, in memory where that can be: a server
// waits for the disk.
func runAll(m *testing.M) int {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "t")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("XDG_STATE_HOME", dir)) // root's server has another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The command ends with the status that it documents, and says each thing on its own stream.
func TestProcess(t *testing.T) {
	t.Parallel()
	for status, args := range map[int][]string{
		2: {"begin"}, 3: {"url", "-name=no-such-server-" + strconv.Itoa(os.Getpid())},
	} {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != status ||
			stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%v: %v, %q, %q", args, err, &stdout, &stderr)
		}
	}
}

// command runs one call and returns its exit status and output.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

// serverName is the flag with a name that no other test has.
func serverName(t *testing.T) string {
	t.Helper()
	name := "-name=" + rand.Text()[:8]
	t.Cleanup(func() { run(context.Background(), []string{"remove", name}, io.Discard, io.Discard) })
	return name
}

func TestLife(t *testing.T) {
	t.Parallel()
	name := serverName(t)
	steps := []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"url", name}, 3, "", "not running"},
		{[]string{"stop", name}, 0, "", ""},
		{[]string{"start", name, "-database=shop"}, 0, "postgres://postgres@/shop?host=", ""},
		{[]string{"start", name}, 0, "postgres://", ""},
		{[]string{"url", name, "-database=shop"}, 0, "/shop?host=", ""},
		{[]string{"branch", name, "-database=shop", "next"}, 0, "made the branch next", ""},
		{[]string{"switch", name, "-database=shop", "next"}, 0, "switched to the branch next", ""},
		{[]string{"branches", name, "-database=shop"}, 0, "* next\n  m", ""},
		{[]string{"branch", name, "-database=shop", "--drop", "none"}, 1, "", "none is not among"},
		{[]string{"stop", name}, 0, "", ""},
		{[]string{"url", name}, 3, "", "not running"},
		{[]string{"remove", name}, 0, "", ""},
	}
	for _, s := range steps {
		code, stdout, stderr := command(t, s.args...)
		if code != s.code || !strings.Contains(stdout, s.stdout) || !strings.Contains(stderr, s.stderr) ||
			(s.stdout == "") != (stdout == "") {
			t.Fatalf("%v: status %d, %q, %q", s.args, code, stdout, stderr)
		}
	}
}

// slowPrograms makes a directory of PostgreSQL's programs where one of them says in the file begun
// that it was called, and goes on when the file is removed.
func slowPrograms(t *testing.T, slow string) (dir, begun string) {
	t.Helper()
	real, err := pgserver.Binaries(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err = os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	begun = filepath.Join(dir, "begun")
	if err := os.Chmod(dir, 0o777); err != nil { // root's server runs as another user
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb", "pg_ctl"} {
		text := "#!/bin/sh\n"
		if program == slow {
			text += ": >" + begun + "\nwhile [ -e " + begun + " ]; do sleep 0.05; done\n"
		}
		text += "exec " + filepath.Join(real, program) + ` "$@"`
		if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, begun
}

// A program goes on when the start that runs it is interrupted, and the next process waits for it:
// the next start makes the server whole, and remove leaves nothing.
func TestStartIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		program string
		signal  os.Signal
		next    string
	}{
		{"initdb", os.Kill, "remove"},
		{"initdb", syscall.SIGTERM, "start"},
		{"pg_ctl", os.Interrupt, "start"},
		{"pg_ctl", syscall.SIGHUP, "stop"},
		{"pg_ctl", os.Kill, "remove"},
	} {
		t.Run(fmt.Sprintf("%s during %s, then %s", c.signal, c.program, c.next), func(t *testing.T) {
			t.Parallel()
			name := serverName(t)
			home := filepath.Join(os.Getenv("XDG_STATE_HOME"), "pgserver", strings.TrimPrefix(name, "-name="))
			dir, begun := slowPrograms(t, c.program)
			cmd := exec.Command(os.Args[0], "start", name)
			cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0", "PGTEST_BINDIR="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, err := os.Stat(begun); err != nil && ctx.Err() == nil; _, err = os.Stat(begun) {
				time.Sleep(5 * time.Millisecond) // polls
			}
			err := cmd.Process.Signal(c.signal)
			if e := cmd.Wait(); err != nil || e == nil {
				t.Errorf("the interrupted start: %v, %v", err, e)
			}
			if lock, err := flock.Try(filepath.Join(home, "lock")); lock != nil || err != nil {
				t.Errorf("the lock is free while the program runs: %v", err)
				lock.Close()
			}
			if err := os.Remove(begun); err != nil {
				t.Fatal(err)
			}
			for _, next := range []string{c.next, "start", "remove"} {
				if code, stdout, stderr := command(t, next, name); code != 0 {
					t.Errorf("%s: status %d, %q, %q", next, code, stdout, stderr)
				}
			}
			if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("left: %v", err)
			}
			// A server removes its files a moment before it exits.
			for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // polls
				out, err := exec.Command("pgrep", "-f", "--", home).CombinedOutput()
				if err != nil && len(out) == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("left: %v: %s", err, out)
				}
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	code, _, stderr := command(t, "start", serverName(t), "-port="+port)
	if code != 1 || !strings.Contains(stderr, port) || !strings.Contains(stderr, "choose another") {
		t.Errorf("status %d, %q", code, stderr)
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"begin"}, {"start", "now"}, {"start", "-port=many"}, {"start", "-nonsense"}, {"fetch"}, {"branch", "a", "b"}} {
		if code, stdout, stderr := command(t, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%v: status %d, %q, %q", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"start", "-port=70000"}, {"start", "-name=../up"}} {
		if code, _, stderr := command(t, args...); code != 1 || stderr == "" {
			t.Errorf("%v: status %d, %q", args, code, stderr)
		}
	}
}

// A directory that was named is the only place.
func TestFetchInstalled(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("PGTEST_BINDIR", empty)
	code, stdout, stderr := command(t, "fetch", "18")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "PGTEST_BINDIR: no postgres in "+empty) {
		t.Errorf("status %d, %q, %q", code, stdout, stderr)
	}
	for _, args := range [][]string{{"fetch"}, {"fetch", "newest"}, {"fetch", "14", "15"}, {"start", "14"}} {
		if code, _, _ := command(t, args...); code != 2 {
			t.Errorf("%v: status %d", args, code)
		}
	}
}
