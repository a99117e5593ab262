package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// NotFoundError says that there are no usable PostgreSQL binaries on this machine. Its text lists
// the places tried, the download among them, and the command that installs them here.
type NotFoundError struct {
	Tried    []string // each place, and why it is not usable
	Download error    // why nothing was downloaded; nil if a directory was named, which is then the only place
	Version  int      // the major version that was asked for; 0 for any
}

func (e *NotFoundError) Error() string {
	tried := strings.Join(e.Tried, "\n  ")
	if e.Download != nil {
		tried += "\n  download: " + strings.ReplaceAll(e.Download.Error(), "\n", "\n  ")
	}
	return "no PostgreSQL server found; tried:\n  " + tried +
		"\ninstall it: " + binaries.Here().InstallCommand(e.Version) +
		"\nor set PGTEST_BINDIR to the directory that holds postgres, initdb and pg_ctl," +
		"\nor set PGTEST_URL to a server for tests, such as postgres://postgres:PASSWORD@127.0.0.1:5432/postgres"
}

// Unwrap returns the error of the download.
func (e *NotFoundError) Unwrap() error { return e.Download }

// Binaries returns the directory of the PostgreSQL programs that [Acquire] would use. It looks, in
// this order, at opts.BinDir, PGTEST_BINDIR, PATH, pg_config --bindir, the folders of Linux
// distributions, Homebrew, Postgres.app and EDB, and what was downloaded before. Where all that has
// none of the wanted version it downloads one, unless PGTEST_DOWNLOAD is off, and says so on
// standard error; that blocks for as long as it takes, at most 10 minutes or until ctx is done. It
// may be called from several processes at once: one downloads.
//
// The error for a machine without PostgreSQL is a [*NotFoundError].
func Binaries(ctx context.Context, opts Options) (string, error) {
	dir, err := findBinaries(ctx, opts.BinDir, opts.Version)
	if err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	return dir, nil
}

func findBinaries(ctx context.Context, dir string, version int) (string, error) {
	if v := os.Getenv("PGTEST_VERSION"); version == 0 && v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < binaries.Oldest {
			return "", fmt.Errorf("PGTEST_VERSION %q: want a major version from %d, such as 16", v, binaries.Oldest)
		}
		version = n
	}
	allowed, err := downloadAllowed()
	if err != nil {
		return "", err
	}
	sys := binaries.Here()
	named := ""
	switch {
	case dir != "":
		named = "Options.BinDir"
	case os.Getenv("PGTEST_BINDIR") != "":
		named, dir = "PGTEST_BINDIR", os.Getenv("PGTEST_BINDIR")
	}
	if named != "" {
		found, tried := sys.Find(binaries.Only(named, dir), version)
		if found == "" {
			return "", &NotFoundError{Tried: tried, Version: version}
		}
		return found, nil
	}
	download := binaries.Download{
		System: sys, Store: sys.FindStoreDir(), Releases: binaries.Releases(), Log: os.Stderr, Check: entered,
	}
	found, tried := sys.Find(append(sys.Places(), download.Stored(version)...), version)
	switch {
	case found != "":
		return found, nil
	case !allowed:
		return "", &NotFoundError{Tried: tried, Download: errDownloadOff, Version: version}
	}
	found, err = download.Get(ctx, version)
	if err != nil {
		return "", &NotFoundError{Tried: tried, Download: err, Version: version}
	}
	return found, nil
}

var errDownloadOff = errors.New("PGTEST_DOWNLOAD is off")

func downloadAllowed() (bool, error) {
	switch v := os.Getenv("PGTEST_DOWNLOAD"); v {
	case "", "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, fmt.Errorf("PGTEST_DOWNLOAD %q: want on or off", v)
	}
}

// entered reports an error if the server's user could not run what is in dir.
func entered(dir string) error {
	o, err := FindOwner()
	if err != nil || o.IsCaller() {
		return err
	}
	if !o.may("-x", dir) {
		return fmt.Errorf("user %s, which the server runs as, cannot enter %s; set XDG_CACHE_HOME to a directory "+
			"that it can", o.Name, dir)
	}
	return nil
}
