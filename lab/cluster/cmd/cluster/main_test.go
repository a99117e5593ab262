package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/cluster"
)

// needPrograms skips the test where a cluster cannot run.
func needPrograms(t *testing.T) {
	t.Helper()
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
}

func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestUpAndDown(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	program, home := build(t), t.TempDir()
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+home)
		return cmd
	}
	if out, err := command("down").CombinedOutput(); err != nil || !strings.Contains(string(out), "no cluster is up") {
		t.Errorf("down without a cluster: %v %s", err, out)
	}
	for _, end := range []struct {
		name string
		do   func(up *os.Process) error
	}{
		{"down", func(*os.Process) error { return command("down").Run() }},
		{"Ctrl-C", func(up *os.Process) error { return up.Signal(syscall.SIGINT) }},
	}[:1+min(len(os.Getenv("CLUSTER_LONG")), 1)] {
		up := command("up", "-nodes", "2")
		var log bytes.Buffer
		up.Stderr = &log
		out, err := up.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		urls, dir := readWays(out)
		if len(urls) != 3 || dir == "" {
			_ = end.do(up.Process)
			t.Fatalf("%d URLs, %q: %v\n%s", len(urls), dir, up.Wait(), &log)
		}
		for _, url := range urls {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Error(err)
				continue
			}
			conn.Close(context.WithoutCancel(t.Context()))
		}
		if out, err := command("up").CombinedOutput(); err == nil || !strings.Contains(string(out), "up already") {
			t.Errorf("a second one: %v %s", err, out)
		}
		if err := end.do(up.Process); err != nil {
			t.Error(end.name, err)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := up.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", end.name, err, &log)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s is still there", end.name, dir)
		}
	}
}

// readWays reads the output of up until the line about the logs.
func readWays(out io.Reader) (urls []string, dir string) {
	url, logs := regexp.MustCompile(`^export DATABASE_URL='([^']+)'`), regexp.MustCompile(`logs are below (\S+)\. `)
	pooled := regexp.MustCompile(`^export DATABASE_PGBOUNCER='true' DATABASE_URL='([^']+)' DIRECT_DATABASE_URL='[^']+'`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		for _, want := range []*regexp.Regexp{url, pooled} {
			if m := want.FindStringSubmatch(lines.Text()); m != nil {
				urls = append(urls, m[1])
			}
		}
		if m := logs.FindStringSubmatch(lines.Text()); m != nil {
			return urls, m[1]
		}
	}
	return urls, ""
}

func TestDemo(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	out, err := exec.CommandContext(t.Context(), build(t), "demo").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("nothing that was acknowledged is lost, nothing is there twice")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Without the extension the command says so and starts nothing.
func TestCitus(t *testing.T) {
	t.Parallel()
	program := build(t)
	cmd := exec.CommandContext(t.Context(), program, "citus")
	out, _ := cmd.CombinedOutput()
	switch code := cmd.ProcessState.ExitCode(); {
	case code == 3 && bytes.Contains(out, []byte("does not have the extension citus")):
	case code == 0 && bytes.Contains(out, []byte("0 lost, 0 doubled")):
	default:
		t.Errorf("citus: status %d: %s", code, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "citus", "-plain").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("0 lost, 0 doubled")) {
		t.Errorf("citus -plain: %v\n%s", err, out)
	}
}

func TestWithoutPrograms(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a cluster runs on Linux only")
	}
	program := build(t)
	for args, want := range map[string]int{"up": 3, "demo": 3, "": 2, "down x": 2, "sideways": 2} {
		cmd := exec.CommandContext(t.Context(), program, strings.Fields(args)...)
		cmd.Env = []string{"PATH=", "HOME=" + t.TempDir()}
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("cluster %s: status %d, want %d: %s", args, got, want, out)
		}
		if want == 3 && !bytes.Contains(out, []byte("apt-get install")) {
			t.Errorf("cluster %s: %s", args, out)
		}
	}
}
