package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// initdbArgs make the same cluster on every system: UTF-8, sorted by code point. The socket's
// directory is the access control, hence trust.
var initdbArgs = []string{
	"--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions",
}

// digest names what a server depends on: the binaries, who runs it, its settings, where it is, and
// this package's own way of starting it.
func (s *spec) digest() (string, error) {
	h := sha256.New()
	fi, err := os.Stat(filepath.Join(s.bin, "postgres"))
	if err != nil {
		return "", err
	}
	fmt.Fprintln(h, s.bin, fi.Size(), fi.ModTime().UnixNano(), s.owner.UID, s.dir)
	fmt.Fprintln(h, s.settings, initdbArgs)
	fmt.Fprint(h, watchdogScript)
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// cachedDataDir is initdb's result for these binaries, whatever the settings.
func (s *spec) cachedDataDir() string {
	h := sha256.New()
	if fi, err := os.Stat(filepath.Join(s.bin, "postgres")); err == nil {
		fmt.Fprintln(h, s.bin, fi.Size(), fi.ModTime().UnixNano(), initdbArgs)
	}
	return filepath.Join(s.cache, "initdb-"+hex.EncodeToString(h.Sum(nil))[:16])
}

// cacheDir returns a directory that belongs to the caller alone.
func cacheDir(dir string) (string, error) {
	if dir == "" {
		dir = binaries.Here().CacheDir()
	}
	if err := tree.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the cache directory: %w; set XDG_CACHE_HOME to a writable directory", err)
	}
	return dir, private(dir, os.Geteuid())
}

// fillDataDir makes dir/data from the cache, and fills the cache first if need be. cached says that
// the data is a copy. anew: it is made without the cache.
func (s *spec) fillDataDir(ctx context.Context, dir string, anew bool) (cached bool, err error) {
	data := filepath.Join(dir, "data")
	cache := s.cachedDataDir()
	if before, err := os.Stat(cache); err == nil && !anew {
		cached = true
		err = tree.Copy(cache, data, s.owner.UID, s.owner.GID)
		if err == nil {
			err = unchanged(cache, before)
		}
		if err != nil {
			return true, noRoom(err, dir)
		}
	} else {
		// Initialized in the server's directory, whose watchdog removes it if this process dies.
		if err := s.initdb(ctx, data); err != nil {
			return false, noRoom(err, dir)
		}
		if err := s.store(data, cache); err != nil {
			return false, fmt.Errorf("cache the data directory: %w", err)
		}
	}
	root, err := tree.Open(data)
	if err != nil {
		return cached, err
	}
	defer root.Close()
	f, err := root.OpenFile("postgresql.conf", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return cached, err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "\n# pgserver\n%sunix_socket_directories = '%s'\nport = %s\n",
		s.settings, strings.ReplaceAll(dir, "'", "''"), port)
	return cached, noRoom(err, dir)
}

func (s *spec) initdb(ctx context.Context, data string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), append(initdbArgs, "--pgdata="+data)...)
	cmd.Dir = "/"
	cmd.Env = binaries.Environ()
	cmd.SysProcAttr = s.owner.Attr()
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 { // it did not start
		return s.owner.explain(fmt.Errorf("initdb: %w", err))
	}
	if err != nil {
		return fmt.Errorf("initdb: %w\n  %s", err, strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n  "))
	}
	return nil
}

// store copies data into the cache, in a directory with another name until it is whole. Servers
// with other settings may do the same at the same time: the first one's copy stays.
func (s *spec) store(data, cache string) error {
	s.sweepPartial()
	partial, err := os.MkdirTemp(s.cache, "partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	whole := filepath.Join(partial, "data")
	if err := tree.Copy(data, whole, os.Geteuid(), os.Getegid()); err != nil {
		return noRoom(err, partial)
	}
	if err := os.Rename(whole, cache); err != nil && !errors.Is(err, fs.ErrExist) &&
		!errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// discardCached makes the next start fill the cache anew. It goes in one step for whoever is
// copying it, who then finds it gone; see unchanged.
func (s *spec) discardCached() {
	partial, err := os.MkdirTemp(s.cache, "partial-")
	if err != nil {
		return // the next start, which finds it damaged too, tries again
	}
	defer os.RemoveAll(partial)
	_ = os.Rename(s.cachedDataDir(), filepath.Join(partial, "data"))
}

// unchanged reports an error if dir was replaced or removed since.
func unchanged(dir string, before fs.FileInfo) error {
	now, err := os.Stat(dir)
	if err != nil {
		return err
	}
	// A new directory may get the inode of an old one.
	if !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime()) {
		return fmt.Errorf("%s was replaced while it was copied", dir)
	}
	return nil
}

// sweepPartial removes what processes left that were killed while they filled the cache.
func (s *spec) sweepPartial() {
	left, _ := filepath.Glob(filepath.Join(s.cache, "partial-*"))
	for _, dir := range left {
		// Filling takes a second: an hour is nobody's.
		if fi, err := os.Stat(dir); err == nil && time.Since(fi.ModTime()) > time.Hour {
			os.RemoveAll(dir)
		}
	}
}
