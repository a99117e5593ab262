// Package flock locks files between processes.
package flock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Try takes an exclusive flock, or returns nil if another process holds it. The kernel gives the
// lock up when its holder dies. A link at path is not followed. The file is never removed: a lock
// on a removed file excludes nobody.
func Try(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
