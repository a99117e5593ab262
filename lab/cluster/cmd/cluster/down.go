package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// downLimit limits how long a cluster may take to stop: a second, or longer on a busy machine.
const downLimit = time.Minute

// claimFile is locked while up runs, and contains its process id. The kernel unlocks it.
func claimFile() (*os.File, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "page-builder-persistence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "cluster-up"), os.O_RDWR|os.O_CREATE, 0o600)
}

// try locks a file unless it is locked.
func try(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// claimUp registers this process as the one that down stops.
func claimUp() (*os.File, error) {
	f, err := claimFile()
	if err != nil {
		return nil, err
	}
	free, err := try(f)
	if err == nil && !free {
		err = errors.New("a cluster is up already: go tool mage cluster:down")
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// down ends the process that runs the cluster, and waits until the cluster has stopped.
func down(ctx context.Context, out io.Writer) error {
	f, err := claimFile()
	if err != nil {
		return err
	}
	defer f.Close()
	free, err := try(f)
	if err != nil {
		return err
	}
	if free {
		fmt.Fprintln(out, "no cluster is up")
		return nil
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return errors.New("a cluster is only just being started: try again")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end process %d, which keeps the cluster: %w", pid, err)
	}
	for deadline := time.Now().Add(downLimit); !free && err == nil; free, err = try(f) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d has not stopped its cluster within %s", pid, downLimit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err == nil {
		fmt.Fprintln(out, "stopped")
	}
	return err
}
