package binaries_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// openDir is a directory that the user of root's servers may enter, unlike t.TempDir.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgserver-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pack makes a release of installed programs, with all that they need beside them.
func pack(t testing.TB, bin string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	prefix := filepath.Dir(bin)
	debian := regexp.MustCompile(`^/usr/lib/postgresql/\d+/bin$`).MatchString(bin)
	switch _, err := os.Stat(filepath.Join(prefix, "share")); {
	case debian:
		// PostgreSQL finds its files by their places relative to the program's; the link makes it
		// "bin" nevertheless.
		version := filepath.Base(prefix)
		addTree(t, w, "/usr/lib/postgresql/"+version, "lib/postgresql/"+version)
		addTree(t, w, "/usr/share/postgresql/"+version, "share/postgresql/"+version)
		if err := w.WriteHeader(&tar.Header{Name: "bin", Linkname: "lib/postgresql/" + version +
			"/bin", Typeflag: tar.TypeSymlink}); err != nil {
			t.Fatal(err)
		}
	case err == nil:
		for _, dir := range []string{"bin", "lib", "share"} {
			addTree(t, w, filepath.Join(prefix, dir), dir)
		}
	default:
		t.Skipf("PostgreSQL in %s is spread over the system in a way that this test does not know", bin)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return jar(t, "postgres.txz", xz(t, b.Bytes()))
}

func addTree(t testing.TB, w *tar.Writer, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if needless(rel, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if fi.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil || filepath.IsAbs(link) {
				return err // Debian's manual pages and the like
			}
		}
		h, err := tar.FileInfoHeader(fi, link)
		if err != nil {
			return err
		}
		h.Name = filepath.Join(to, rel)
		if err := w.WriteHeader(h); err != nil || !fi.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// needless tells what a server does without: it takes long to compress.
func needless(rel string, d fs.DirEntry) bool {
	switch name := d.Name(); name {
	case "postgres", "initdb", "pg_ctl":
		return false
	case "bitcode", "man", "locale", "pgxs", "tsearch_data", "include", "pkgconfig":
		return d.IsDir()
	default:
		return strings.HasPrefix(name, "llvmjit") || strings.HasPrefix(name, "utf8_and_") ||
			(!d.IsDir() && filepath.Base(filepath.Dir("/"+rel)) == "bin")
	}
}

// runs starts a server with the programs and asks it for its major version.
func runs(t testing.TB, opts pgserver.Options) int {
	t.Helper()
	opts.CacheDir = filepath.Join(t.TempDir(), "cache") // what is made for programs that go is of no use to others
	s, err := pgserver.Acquire(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var version int
	if err := conn.QueryRow(ctx,
		"select current_setting('server_version_num')::int / 10000").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

// absent returns a major version that is not on this machine.
func absent(t *testing.T) int {
	t.Helper()
	t.Setenv("PGTEST_URL", "")
	t.Setenv("PGTEST_BINDIR", "")
	t.Setenv("PGTEST_VERSION", "")
	t.Setenv("PGTEST_DOWNLOAD", "off")
	t.Setenv("XDG_CACHE_HOME", openDir(t))
	for version := 18; version >= binaries.Oldest; version-- {
		if _, err := pgserver.Binaries(t.Context(), pgserver.Options{Version: version}); err != nil {
			return version
		}
	}
	t.Skip("every version is installed here: nothing to download")
	return 0
}

// What Acquire does where the wanted version is missing, with all its variables.
func TestBinariesDownloads(t *testing.T) {
	version := absent(t)
	r := newRepository(t)
	platform, release := thisPlatform(t), releaseOf(t, version)
	archive := jar(t, "postgres.txz", xz(t, tarball(t, programs(fmt.Sprint(version, ".0"))...)))
	r.add(platform, release, archive)
	t.Setenv("PGTEST_REPOSITORY", r.URL+"/m2")
	t.Setenv("PGTEST_VERSION", strconv.Itoa(version))

	for name, c := range map[string]struct{ download, sum, want string }{
		"forbidden":   {"off", "", "download: PGTEST_DOWNLOAD is off"},
		"wrong sum":   {"on", sum([]byte("another")), "download: " + r.URL},
		"neither":     {"perhaps", "", "want on or off"},
		"bad version": {"on", "", "want a major version"},
	} {
		if name == "bad version" {
			t.Setenv("PGTEST_VERSION", "newest")
		}
		t.Setenv("PGTEST_DOWNLOAD", c.download)
		t.Setenv("PGTEST_SHA256", c.sum)
		_, err := pgserver.Binaries(t.Context(), pgserver.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if missing := (*pgserver.NotFoundError)(nil); c.want[:9] == "download:" &&
			(!errors.As(err, &missing) || missing.Unwrap() == nil) {
			t.Errorf("%s: got %T", name, err)
		}
		t.Setenv("PGTEST_VERSION", strconv.Itoa(version))
	}
	t.Setenv("PGTEST_DOWNLOAD", "")
	t.Setenv("PGTEST_SHA256", sum(archive))
	dir, err := pgserver.Binaries(t.Context(), pgserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// From the store, without the network and where nothing may be downloaded.
	r.Close()
	t.Setenv("PGTEST_DOWNLOAD", "off")
	if again, err := pgserver.Binaries(t.Context(), pgserver.Options{}); err != nil || again != dir {
		t.Errorf("again: %s, %v", again, err)
	}
	// Somebody who names a directory wants that one.
	t.Setenv("PGTEST_DOWNLOAD", "on")
	t.Setenv("PGTEST_BINDIR", t.TempDir())
	_, err = pgserver.Binaries(t.Context(), pgserver.Options{})
	if missing := (*pgserver.NotFoundError)(nil); !errors.As(err, &missing) || missing.Download != nil ||
		len(missing.Tried) != 1 {
		t.Errorf("PGTEST_BINDIR: got %v", err)
	}
}

// A server of downloaded programs: those of this machine, packed as the repository packs them.
// Acquire downloads a version that "pgserver fetch --npm" has put here, which is none of the
// installed ones. Where there is none the version that is installed is downloaded without it.
func TestServerOfADownload(t *testing.T) {
	for name, value := range map[string]string{
		"PGTEST_URL": "", "PGTEST_BINDIR": "", "PGTEST_VERSION": "", "PGTEST_SHA256": "", "PGTEST_DOWNLOAD": "off",
	} {
		t.Setenv(name, value)
	}
	r := newRepository(t)
	found, _ := filepath.Glob(filepath.Join(binaries.Here().StoreDir(), "npm-*", "native", "bin"))
	for _, bin := range found {
		release := strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(bin))), "npm-")
		version, _ := strconv.Atoi(strings.Split(release, ".")[0])
		if installed, _ := binaries.Here().Find(binaries.Here().Places(), version); version < binaries.Oldest ||
			installed != "" {
			continue
		}
		r.add(thisPlatform(t), releaseOf(t, version), pack(t, bin))
		t.Setenv("PGTEST_REPOSITORY", r.URL+"/m2")
		t.Setenv("XDG_CACHE_HOME", openDir(t))
		t.Setenv("PGTEST_VERSION", strconv.Itoa(version))
		t.Setenv("PGTEST_DOWNLOAD", "on")
		if got := runs(t, pgserver.Options{}); got != version {
			t.Errorf("a server of version %d, want %d", got, version)
		}
		return
	}
	bin, err := pgserver.Binaries(t.Context(), pgserver.Options{})
	if err != nil {
		t.Skip("no PostgreSQL on this machine to pack")
	}
	r.add(platform, newest, pack(t, bin))
	d := downloader(t, r.URL+"/m2")
	d.Store = filepath.Join(openDir(t), "store")
	dir, err := d.Get(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if v := runs(t, pgserver.Options{BinDir: dir}); v < binaries.Oldest {
		t.Errorf("version %d", v)
	}
}

// thisPlatform asks a repository that has nothing.
func thisPlatform(t *testing.T) string { p, _ := asked(t, 0); return p }

func releaseOf(t *testing.T, version int) string { _, r := asked(t, version); return r }

func asked(t *testing.T, version int) (platform, release string) {
	t.Helper()
	r := newRepository(t)
	d := downloader(t, r.URL+"/m2")
	d.System = binaries.Here()
	if _, err := d.Get(t.Context(), version); err == nil {
		t.Fatal("downloaded from an empty repository")
	}
	for path := range r.asked {
		parts := strings.Split(path, "/")
		return strings.TrimPrefix(parts[len(parts)-3], "embedded-postgres-binaries-"), parts[len(parts)-2]
	}
	t.Skipf("no downloads for this system")
	return "", ""
}
