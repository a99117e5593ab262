// Package flock locks files between processes.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Wait takes the lock of [Try], and waits for it until ctx is done.
func Wait(ctx context.Context, path string) (*os.File, error) {
	for {
		lock, err := Try(path)
		if lock != nil || err != nil {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond): // what a holder does takes longer
		}
	}
}

// Try takes an exclusive flock, or returns nil if another process holds it. The kernel gives the
// lock up when its holder dies. A link at path is not followed.
//
// Only the holder may remove the file: a lock on a removed file, which excludes nobody, does not
// count.
func Try(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && isAt(f, path) {
		return f, nil
	}
	f.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

func isAt(f *os.File, path string) bool {
	opened, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(opened, there)
}
