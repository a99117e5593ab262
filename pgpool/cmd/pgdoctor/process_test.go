package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// asCommand makes the test binary run as the command.
const asCommand = "PGDOCTOR_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process runs the command as a process, in an empty folder and with no other variables.
func process(t *testing.T, out *bytes.Buffer, environ ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), out, out
	cmd.Env = append([]string{asCommand + "=1", "APP_ENV=test", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR=" +
		os.Getenv("GOCOVERDIR")}, environ...)
	return cmd
}

func TestProcess(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		environ []string
		code    int
		want    string
	}{
		"fine":           {[]string{"DATABASE_URL=" + pgserver.Database(t)}, fine, "no problems"},
		"nothing is set": {nil, unusable, "DATABASE_URL is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			cmd := process(t, &out, tt.environ...)
			var exit *exec.ExitError
			if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			contains(t, out.String(), tt.want)
		})
	}
}

// Ctrl-C ends the command while a database does not answer. It still prints its report.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var out bytes.Buffer
	cmd := process(t, &out, "DATABASE_URL=postgres://app@"+listener.Addr().String()+"/shop?sslmode=disable",
		"DATABASE_CONNECT_TIMEOUT=1h")
	cmd.Args = append(cmd.Args, "-timeout", "1h")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // then it waits for an answer
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != notReached {
		t.Errorf("it ended with %v, want code %d", err, notReached)
	}
	contains(t, out.String(), "FAIL connection", "context canceled", "1 problem, no warnings")
}
