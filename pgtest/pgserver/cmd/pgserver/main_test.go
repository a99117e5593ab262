package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary the command.
const asCommand = "PGSERVER_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
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

// stateDir makes the development servers of this test its own.
func stateDir(t *testing.T) (name string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // root's server runs as another user
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", dir)
	return filepath.Base(dir)
}

func TestLife(t *testing.T) {
	name := "-name=" + stateDir(t)
	t.Cleanup(func() { command(t, "remove", name) })
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

// A start that a signal ends, at any step, is made good by the next one, and remove leaves nothing.
func TestStartIsInterrupted(t *testing.T) {
	name := "-name=" + stateDir(t)
	state := os.Getenv("XDG_STATE_HOME")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(state, "cache")) // initdb is one of the steps
	for i, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, os.Kill} {
		cmd := exec.Command(os.Args[0], "start", name)
		cmd.Env = append(os.Environ(), asCommand+"=1", "GORACE=atexit_sleep_ms=0")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(i)*400*time.Millisecond + rand.N(400*time.Millisecond)
		interrupt := time.AfterFunc(after, func() { _ = cmd.Process.Signal(sig) })
		err := cmd.Wait()
		interrupt.Stop()
		t.Logf("%s after %s: %v", sig, after, err)
		// -1: a signal ended it, maybe before the command listened to signals.
		if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() > 1 {
			t.Errorf("%s: %v", sig, err)
		}
		if code, stdout, stderr := command(t, "start", name); code != 0 || !strings.Contains(stdout, "postgres://") {
			t.Errorf("started again: status %d, %q, %q", code, stdout, stderr)
		}
		if left, err := filepath.Glob(filepath.Join(state, "pgserver", "*", "making-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left: %v, %v", sig, left, err)
		}
		if code, _, stderr := command(t, "remove", name); code != 0 {
			t.Errorf("removed: status %d, %q", code, stderr)
		}
		if left, err := filepath.Glob(filepath.Join(state, "pgserver", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left: %v, %v", sig, left, err)
		}
		os.RemoveAll(filepath.Join(state, "cache"))
	}
	if out, err := exec.Command("ps", "-eo", "args=").Output(); err != nil || strings.Contains(string(out), state) {
		t.Errorf("%v: a process is left:\n%s", err, out)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	code, _, stderr := command(t, "start", "-name="+stateDir(t), "-port="+port)
	if code != 1 || !strings.Contains(stderr, port) || !strings.Contains(stderr, "choose another") {
		t.Errorf("status %d, %q", code, stderr)
	}
}

func TestWrongCalls(t *testing.T) {
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
