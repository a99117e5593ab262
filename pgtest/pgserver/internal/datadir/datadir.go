// Package datadir makes data directories for servers. initdb takes a second, and a copy of its
// result a tenth of that: a cache keeps one for each version of the programs.
package datadir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// Source makes data directories of one kind.
type Source struct {
	// Kind separates caches. Copies have the system identifier of what they were copied from, so
	// servers of one kind count as one cluster.
	Kind     string
	Bin      string   // directory of the programs
	Cache    string   // "" for none; not used if others can enter it
	Options  []string // of initdb, beside those that all have
	UID, GID int      // of the data directories' owner

	// Initdb runs initdb as the owner.
	Initdb func(ctx context.Context, args ...string) error
}

// options make the same cluster on every system: UTF-8, sorted by code point. The directory of the
// socket is its access control, hence trust there.
var options = []string{
	"--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale",
	"--no-sync", "--no-instructions",
}

// Make makes the data directory dir, and reports whether it is a copy. Where nothing can be cached
// the next call runs initdb again.
func (s Source) Make(ctx context.Context, dir string) (copied bool, err error) {
	if before, err := os.Stat(s.cached()); err == nil && tree.Private(s.Cache, os.Geteuid()) == nil {
		err := tree.Copy(s.cached(), dir, s.UID, s.GID)
		if err == nil {
			err = unchanged(s.cached(), before)
		}
		return true, err
	}
	return false, s.MakeAnew(ctx, dir)
}

// MakeAnew makes the data directory dir with initdb.
func (s Source) MakeAnew(ctx context.Context, dir string) error {
	if err := s.Initdb(ctx, append(append([]string{"--pgdata=" + dir}, options...), s.Options...)...); err != nil {
		return err
	}
	s.store(dir)
	return nil
}

// Digest names the programs and the way a data directory is made.
func (s Source) Digest() string {
	h := sha256.New()
	if info, err := os.Stat(filepath.Join(s.Bin, "postgres")); err == nil {
		fmt.Fprintln(h, s.Bin, info.Size(), info.ModTime().UnixNano(), options, s.Options, s.Kind)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (s Source) cached() string { return filepath.Join(s.Cache, "initdb-"+s.Digest()) }

// store copies the data directory into the cache, where it gets its name when it is whole. The copy
// of the first of several processes stays.
func (s Source) store(dir string) {
	if s.Cache == "" || tree.MkdirAll(s.Cache, 0o700) != nil || tree.Private(s.Cache, os.Geteuid()) != nil {
		return
	}
	s.sweepPartial()
	partial, err := os.MkdirTemp(s.Cache, "partial-")
	if err != nil {
		return
	}
	defer os.RemoveAll(partial)
	whole := filepath.Join(partial, "data")
	if err := tree.Copy(dir, whole, os.Geteuid(), os.Getegid()); err == nil {
		_ = os.Rename(whole, s.cached())
	}
}

// Forget makes the next Make run initdb. It goes in one step for a process that is copying, which
// then finds the directory gone.
func (s Source) Forget() {
	partial, err := os.MkdirTemp(s.Cache, "partial-")
	if err != nil {
		return // the next start, which finds it damaged too, tries again
	}
	defer os.RemoveAll(partial)
	_ = os.Rename(s.cached(), filepath.Join(partial, "data"))
}

// Damaged reports whether another data directory may help a server that ended with this log, in the
// C locale. A machine that crashed may have left a cached directory half on disk.
func Damaged(log string) bool { return !strings.Contains(log, `" contains errors`) }

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
func (s Source) sweepPartial() {
	left, _ := fs.Glob(os.DirFS(s.Cache), "partial-*")
	for _, name := range left {
		dir := filepath.Join(s.Cache, name)
		// Filling takes a second: after an hour its process has ended.
		if fi, err := os.Stat(dir); err == nil && time.Since(fi.ModTime()) > time.Hour {
			os.RemoveAll(dir)
		}
	}
}
