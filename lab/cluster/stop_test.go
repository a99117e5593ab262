package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/lab/cluster"
)

// left reports what a stopped cluster left behind: its directory, a process in it, a port in use.
func left(dir string, env cluster.Env) error {
	err := gone(dir)
	links, globErr := filepath.Glob("/proc/[0-9]*/cwd")
	err = errors.Join(err, globErr)
	for _, link := range links {
		if to, _ := os.Readlink(link); to == dir || strings.HasPrefix(to, dir+"/") {
			err = errors.Join(err, fmt.Errorf("process %s works in %s", link, to))
		}
	}
	for _, url := range append([]string{env.Writer, env.Reader, env.Pooled}, env.Nodes...) {
		config, parseErr := pgx.ParseConfig(url)
		if parseErr != nil {
			return errors.New("cannot parse a URL")
		}
		address := net.JoinHostPort(config.Host, fmt.Sprint(config.Port))
		if conn, dialErr := net.Dial("tcp", address); dialErr == nil {
			conn.Close()
			err = errors.Join(err, fmt.Errorf("%s is in use", address))
		}
	}
	return err
}

// startAndWait is the process that TestKilled kills.
func startAndWait() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{Nodes: 2})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// A frozen node must go too.
	if err := c.Nodes()[1].Freeze(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(state{c.Dir(), c.Env()})
	select {}
}

type state struct {
	Dir string
	Env cluster.Env
}

// The cluster of a program that is killed ends too, although the program cannot stop it.
func TestKilled(t *testing.T) {
	t.Parallel()
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_DIE=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadBytes('\n')
	var s state
	err = errors.Join(readErr, json.Unmarshal(line, &s), cmd.Process.Kill())
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if left(s.Dir, s.Env) == nil {
		t.Error("there was nothing to be left")
	}
	eventually(t, func() error { return left(s.Dir, s.Env) })
}

func TestStartGivesUp(t *testing.T) {
	t.Parallel()
	if err := cluster.Check(); err != nil {
		t.Skip(err)
	}
	t.Run("ctx ends", func(t *testing.T) {
		t.Parallel()
		// For root, below a directory that PostgreSQL's user can enter.
		dir, err := os.MkdirTemp("", "cluster-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chmod(dir, 0o755); err != nil { // nothing is in it but another directory
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		kept := filepath.Join(dir, "kept")
		if _, err = cluster.Start(ctx, cluster.Options{Dir: kept}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		if _, err := os.Stat(filepath.Join(kept, "etcd.log")); err != nil {
			t.Error(err)
		}
		if _, err := cluster.Start(t.Context(), cluster.Options{Dir: kept}); err == nil ||
			!strings.Contains(err.Error(), "is not empty") {
			t.Errorf("error %v for a directory that is in use", err)
		}
	})
	t.Run("one node", func(t *testing.T) {
		t.Parallel()
		if _, err := cluster.Start(t.Context(), cluster.Options{Nodes: 1}); err == nil {
			t.Error("no error")
		}
	})
}
