// Package binaries finds PostgreSQL's programs on a machine, and downloads them where there are
// none.
package binaries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// System is a machine as this package sees it. Tests make up another one.
type System struct {
	GOOS, GOARCH string
	UID          int
	Root         fs.FS                             // of "/"
	Getenv       func(name string) string          // the environment
	LookPath     func(name string) (string, error) // a program in PATH, links followed
	Output       func(ctx context.Context, name string, args ...string) ([]byte, error)
}

// Here is the machine that this process runs on.
func Here() System {
	return System{
		GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, UID: os.Geteuid(),
		Root:   os.DirFS("/"),
		Getenv: os.Getenv,
		LookPath: func(name string) (string, error) {
			p, err := exec.LookPath(name)
			if err != nil {
				return "", err
			}
			if real, err := filepath.EvalSymlinks(p); err == nil { // Debian-like link farms
				p = real
			}
			return p, nil
		},
		Output: func(ctx context.Context, name string, args ...string) ([]byte, error) {
			return exec.CommandContext(ctx, name, args...).Output()
		},
	}
}

// CacheDir is where this user keeps what can be made again, a folder for each user id: sudo keeps
// HOME on some systems. It is not made here. XDG_CACHE_HOME counts on macOS too, unlike in
// [os.UserCacheDir]: it is what error messages tell people to set.
func (s System) CacheDir() string {
	uid := strconv.Itoa(s.UID)
	switch home := s.Getenv("HOME"); {
	case filepath.IsAbs(s.Getenv("XDG_CACHE_HOME")):
		return filepath.Join(s.Getenv("XDG_CACHE_HOME"), "pgserver", uid)
	case !s.owns(home): // of a daemon, of another user under sudo, / in a container
		return s.tempCacheDir()
	case s.GOOS == "darwin":
		return filepath.Join(home, "Library", "Caches", "pgserver", uid)
	default:
		return filepath.Join(home, ".cache", "pgserver", uid)
	}
}

func (s System) tempCacheDir() string {
	return filepath.Join(s.TempDir(), "pgserver-cache-"+strconv.Itoa(s.UID))
}

// MakeCacheDir makes a directory that nobody else can enter: the named one, or else CacheDir. If
// that is in a home that cannot be written to, it makes one in the temporary directory instead.
func (s System) MakeCacheDir(named string) (string, error) {
	dirs := []string{cmp.Or(named, s.CacheDir())}
	if named == "" && !filepath.IsAbs(s.Getenv("XDG_CACHE_HOME")) {
		dirs = append(dirs, s.tempCacheDir())
	}
	var failed []error
	for _, dir := range dirs {
		dir, err := filepath.Abs(dir)
		if err == nil {
			err = tree.MkdirAll(dir, 0o700)
		}
		if err == nil {
			err = tree.Private(dir, s.UID)
		}
		if err == nil {
			return dir, nil
		}
		failed = append(failed, err)
	}
	return "", fmt.Errorf("make the cache directory: %w; set XDG_CACHE_HOME to a writable directory",
		errors.Join(failed...))
}

// owns reports whether a home is a directory of this user. What root made in another's home its
// owner could not enter, and could turn what is there against root.
func (s System) owns(home string) bool {
	fi, err := s.stat(home)
	return filepath.IsAbs(home) && err == nil && fi.IsDir() && tree.OwnedBy(fi, s.UID)
}

// StateDir is where this user keeps what must stay: development servers. Root's are outside its
// home, which the user that its servers run as cannot enter.
func (s System) StateDir() (string, error) {
	switch home := s.Getenv("HOME"); {
	case filepath.IsAbs(s.Getenv("XDG_STATE_HOME")):
		return filepath.Join(s.Getenv("XDG_STATE_HOME"), "pgserver"), nil
	case s.UID == 0:
		return "/var/lib/pgserver", nil
	case !filepath.IsAbs(home):
		return "", errors.New("neither XDG_STATE_HOME nor HOME is set to an absolute path")
	default:
		return filepath.Join(home, ".local", "state", "pgserver"), nil
	}
}

// StoreDir is where downloaded programs go. Root's are outside its home, like its development
// servers.
func (s System) StoreDir() string {
	switch {
	case s.UID != 0:
		return filepath.Join(s.CacheDir(), "binaries")
	case filepath.IsAbs(s.Getenv("XDG_CACHE_HOME")):
		return filepath.Join(s.Getenv("XDG_CACHE_HOME"), "pgserver-binaries")
	case s.GOOS == "darwin":
		return "/Library/Caches/pgserver-binaries"
	default:
		return "/var/cache/pgserver-binaries"
	}
}

// FindStoreDir is StoreDir where that can be made, or else next to what MakeCacheDir makes instead.
func (s System) FindStoreDir() string {
	if s.UID != 0 {
		if cache, err := s.MakeCacheDir(""); err == nil {
			return filepath.Join(cache, "binaries")
		}
	}
	return s.StoreDir()
}

// TempDir is [os.TempDir] of the machine.
func (s System) TempDir() string {
	if dir := s.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/tmp"
}

// MaxSocketPath is how long the path of a Unix socket may be: the least of the systems' sun_path
// sizes (Linux 108, macOS 104), without the final zero.
const MaxSocketPath = 103

func (s System) exists(path string) bool {
	_, err := s.stat(path)
	return err == nil
}

func (s System) stat(path string) (fs.FileInfo, error) {
	return fs.Stat(s.Root, cmp.Or(strings.Trim(path, "/"), "."))
}

// Environ is the environment of PostgreSQL's processes. The caller's may hold secrets that the
// server's user must not see, and PG* variables that would change the server.
func Environ() []string {
	// The scripts need programs of the system, whatever PATH is in a test.
	path := "/usr/bin:/bin"
	if p := os.Getenv("PATH"); p != "" {
		path = p + ":" + path
	}
	env := []string{"LC_ALL=C", "PATH=" + path}
	for _, k := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}
