package pgserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const (
	mib = 1 << 20
	// needMemory is the room wanted in /dev/shm: Docker gives containers 64 MB there, which a few
	// test databases of 8 MB and the server's 40 MB would fill.
	needMemory = 1024 * mib
	// needDisk is the least room elsewhere: the data directory and a handful of databases.
	needDisk = 256 * mib
)

// parentDir chooses where the server's directory goes: memory if there is room, else the temporary
// directory.
func (s *spec) parentDir() (string, error) {
	type place struct {
		dir  string
		need uint64
	}
	var places []place
	switch {
	case s.dir != "":
		places = []place{{s.dir, needDisk}}
	case runtime.GOOS == "linux":
		places = append(places, place{"/dev/shm", needMemory})
		fallthrough
	default:
		places = append(places, place{os.TempDir(), needDisk})
		if !s.owner.IsCaller() { // root's TMPDIR may be closed to the server's user
			places = append(places, place{"/tmp", needDisk}, place{"/var/tmp", needDisk})
		}
	}
	var tried []string
	for _, p := range places {
		dir, err := filepath.Abs(p.dir) // the server is in another directory
		if err == nil {
			err = s.fits(dir, p.need)
		}
		if err == nil {
			return dir, nil
		}
		tried = append(tried, err.Error())
	}
	return "", fmt.Errorf("no room for a server:\n  %s\nset TMPDIR to a directory that user %s can enter, with %d "+
		"MB free",
		strings.Join(tried, "\n  "), s.owner.Name, needDisk/mib)
}

// fits reports why a server cannot live in dir.
func (s *spec) fits(dir string, need uint64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < need {
		return fmt.Errorf("%s: %d MB free, %d MB needed", dir, free/mib, need/mib)
	}
	if s.owner.IsCaller() {
		if err := syscall.Access(dir, accessWrite|accessEnter); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		return nil
	}
	if !s.owner.may("-w", dir) || !s.owner.may("-x", dir) { // its watchdog removes the server's directory
		return fmt.Errorf("%s: user %s, which the server runs as, cannot write there", dir, s.owner.Name)
	}
	return nil
}

// access(2)'s W_OK and X_OK, the same on every system.
const accessWrite, accessEnter = 2, 1

// noRoom says what to do about a full or read-only file system.
func noRoom(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), err != nil && strings.Contains(err.Error(), "No space left"):
		return fmt.Errorf("%w\nthe file system of %s is full: free some space, or set TMPDIR to another directory",
			err, dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w\nset TMPDIR and XDG_CACHE_HOME to writable directories", err)
	}
	return err
}
