package binaries_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

const platform, newest = "linux-amd64", "18.3.0"

// downloader has an empty store of the running user, on a machine with this one's programs.
func downloader(t testing.TB, repository string) binaries.Download {
	t.Helper()
	here := binaries.Here()
	here.GOOS, here.GOARCH = "linux", "amd64"
	return binaries.Download{
		System: here, Repository: repository, Store: filepath.Join(t.TempDir(), "store"),
		Limits: binaries.RealLimits(), Log: io.Discard,
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	archive := jar(t, "postgres-linux-x86_64.txz", xz(t, tarball(t, programs("17.5")...)))
	r.add(platform, "17.5.0", archive)
	d := downloader(t, r.URL+"/m2/")
	var log bytes.Buffer
	d.Log = &log
	dir, err := d.Get(t.Context(), 17)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "postgres")); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", fi, err)
	}
	if !strings.Contains(log.String(), "downloading "+r.URL) || !strings.Contains(log.String(), sum(archive)) {
		t.Errorf("said: %q", log.String())
	}
	if fi, err := os.Stat(d.Store); err != nil || (fi.Mode().Perm() != 0o700) != (os.Geteuid() == 0) {
		t.Errorf("the store: %v, %v", fi.Mode(), err)
	}
	// From now on it is there, for whoever looks, without the network.
	r.Close()
	log.Reset()
	if again, err := d.Get(t.Context(), 17); err != nil || again != dir || log.Len() > 0 {
		t.Errorf("again: %s, %v, said %q", again, err, log.String())
	}
	// The script is read, not run: while a parallel test forks, a file that was just written is
	// "text file busy".
	d.System.Output = func(_ context.Context, name string, _ ...string) ([]byte, error) { return os.ReadFile(name) }
	if found, tried := d.System.Find(d.Stored(17), 17); found != dir {
		t.Errorf("stored: %q, tried %q", found, tried)
	}
	if found, _ := d.System.Find(d.Stored(0), 0); found != dir {
		t.Errorf("stored, any: %q", found)
	}
	if places := d.Stored(16); len(places) != 0 {
		t.Errorf("stored, another: %v", places)
	}
}

// The names that the archives have for each system.
func TestDownloadPlatforms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goos, goarch string
		alpine       bool
		want, err    string
	}{
		"Linux":           {"linux", "amd64", false, "linux-amd64", ""},
		"Linux on arm64":  {"linux", "arm64", false, "linux-arm64v8", ""},
		"Alpine":          {"linux", "amd64", true, "linux-amd64-alpine", ""},
		"Alpine on arm64": {"linux", "arm64", true, "linux-arm64v8-alpine", ""},
		"macOS on amd64":  {"darwin", "amd64", false, "darwin-amd64", ""},
		"macOS on arm64":  {"darwin", "arm64", false, "darwin-arm64v8", ""},
		"Windows":         {"windows", "amd64", false, "", "no binaries to download for windows/amd64"},
		"another machine": {"linux", "riscv64", false, "", "no binaries to download for linux/riscv64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			d := downloader(t, r.URL+"/m2")
			root := machine(c.goos, nil, nil).Root
			if c.alpine {
				root = os.DirFS(writeFile(t, "etc/alpine-release"))
			}
			d.System.GOOS, d.System.GOARCH, d.System.Root = c.goos, c.goarch, root
			_, err := d.Get(t.Context(), 0)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v", err)
			}
			if asked := r.times(artifactPath(c.want, newest) + ".sha256"); (asked == 1) != (c.want != "") {
				t.Errorf("asked %d times for %s: %v", asked, c.want, r.asked)
			}
		})
	}
}

// writeFile makes a root directory with an empty file.
func writeFile(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755),
		os.WriteFile(filepath.Join(dir, path), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDownloadFails(t *testing.T) {
	t.Parallel()
	good := jar(t, "postgres.txz", xz(t, tarball(t, programs("18.3")...)))
	packed := func(files ...file) []byte {
		return jar(t, "postgres.txz", xz(t, tarball(t, append(programs("18.3"), files...)...)))
	}
	compressed := xz(t, tarball(t, append(programs("18.3"), file{name: "noise", content: noise(100_000)})...))
	set := func(archive []byte) func(*repository, *binaries.Download) {
		return func(r *repository, _ *binaries.Download) { r.add(platform, newest, archive) }
	}
	path := artifactPath(platform, newest)
	for name, c := range map[string]struct {
		version int
		prepare func(*repository, *binaries.Download)
		want    []string
	}{
		"offline": {prepare: func(r *repository, _ *binaries.Download) {
			r.Close()
		}, want: []string{"connection refused", "without a network", "PGTEST_REPOSITORY", "install PostgreSQL"}},
		"404": {
			prepare: func(*repository, *binaries.Download) {},
			want:    []string{"HTTP status 404", "the repository does not have this release", newest},
		},
		"no such release": {version: 97, want: []string{"version 97 is not among the known releases 18."}},
		"no sum": {prepare: func(r *repository, _ *binaries.Download) {
			r.add(platform, newest, good)
			delete(r.files, path+".sha256")
		}, want: []string{".sha256", "HTTP status 404"}},
		"a page instead of a sum": {prepare: func(r *repository, _ *binaries.Download) {
			r.add(platform, newest, good)
			r.files[path+".sha256"] = []byte("<html>log in first</html>")
		}, want: []string{"is not a SHA-256 sum"}},
		"another sum": {prepare: func(r *repository, _ *binaries.Download) {
			r.add(platform, newest, good)
			r.files[path] = append(bytes.Clone(good), 0)
		}, want: []string{"its SHA-256 is", "want " + sum(good), "nothing of it was kept"}},
		"not the sum that was asked for": {prepare: func(r *repository, d *binaries.Download) {
			r.add(platform, newest, good)
			d.SHA256 = sum([]byte("other"))
		}, want: []string{"want " + sum([]byte("other"))}},
		"a sum that is none": {prepare: func(_ *repository, d *binaries.Download) {
			d.SHA256 = "abc"
		}, want: []string{"PGTEST_SHA256", "64 hexadecimal digits"}},
		"truncated jar": {prepare: set(good[:len(good)/2]), want: []string{"open the archive", "zip"}},
		"truncated txz": {
			prepare: set(jar(t, "postgres.txz", compressed[:len(compressed)/2])),
			want:    []string{"the archive is damaged"},
		},
		"not a txz": {
			prepare: set(jar(t, "postgres.txz", []byte("no"))), want: []string{"the archive is damaged"},
		},
		"no txz": {prepare: set(jar(t, "postgres.tar", []byte("no"))), want: []string{"holds no .txz"}},
		"no programs": {
			prepare: set(jar(t, "postgres.txz", xz(t, tarball(t, file{name: "README"})))),
			want:    []string{"holds no bin/postgres"},
		},
		"a link for a program": {
			prepare: set(jar(t, "postgres.txz",
				xz(t, tarball(t, file{name: "bin/postgres", link: "/bin/sh", kind: tar.TypeSymlink})))),
			want: []string{"leaves"},
		},
		"traversal": {
			prepare: set(packed(file{name: "../../evil", content: "x"})), want: []string{"../../evil", "leaves"},
		},
		"link out": {
			prepare: set(packed(file{name: "lib", link: "../..", kind: tar.TypeSymlink})), want: []string{"leaves"},
		},
		"absolute": {prepare: set(packed(file{name: "/tmp/evil", content: "x"})), want: []string{"leaves"}},
		"huge to download": {prepare: func(r *repository, d *binaries.Download) {
			r.add(platform, newest, good)
			d.Limits.Archive = 100
		}, want: []string{"larger than the 100 bytes"}},
		"huge to unpack": {prepare: func(r *repository, d *binaries.Download) {
			r.add(platform, newest, packed(file{name: "zeros", content: strings.Repeat("\x00", 1<<20)}))
			d.Limits.Bytes = 1 << 19
		}, want: []string{"more than is allowed"}},
		"http": {prepare: func(_ *repository, d *binaries.Download) {
			d.Repository = "http://u:s3cretword@maven.example.com/m2"
		}, want: []string{"want https"}},
		"no address": {prepare: func(_ *repository, d *binaries.Download) {
			d.Repository = "s3cretword"
		}, want: []string{"PGTEST_REPOSITORY is not a URL"}},
		"bad address": {prepare: func(_ *repository, d *binaries.Download) {
			d.Repository = "https://u:s3cretword@%%/"
		}, want: []string{"PGTEST_REPOSITORY is not a URL"}},
		"password, 404": {prepare: func(r *repository, d *binaries.Download) {
			d.Repository = withPassword(r.URL)
		}, want: []string{"404"}},
		"password, offline": {prepare: func(r *repository, d *binaries.Download) {
			d.Repository = withPassword(r.URL)
			r.Close()
		}, want: []string{"connection refused"}},
		"redirect to http": {prepare: func(r *repository, _ *binaries.Download) {
			r.files[path+".sha256"] = []byte("redirect http://maven.example.com/x")
		}, want: []string{"want https"}},
		"redirect for ever": {prepare: func(r *repository, _ *binaries.Download) {
			r.files[path+".sha256"] = []byte("redirect " + path + ".sha256")
		}, want: []string{"redirected more than"}},
		"xz missing": {prepare: func(r *repository, d *binaries.Download) {
			r.add(platform, newest, good)
			d.System.LookPath = func(string) (string, error) { return "", exec.ErrNotFound }
		}, want: []string{"needs the program xz"}},
		"refused by the caller": {prepare: func(_ *repository, d *binaries.Download) {
			d.Check = func(string) error { return errors.New("not here") }
		}, want: []string{"not here"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			d := downloader(t, r.URL+"/m2")
			var log bytes.Buffer
			d.Log = &log
			if c.prepare != nil {
				c.prepare(r, &d)
			}
			_, err := d.Get(t.Context(), c.version)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error()+log.String(), "s3cretword") {
				t.Errorf("the password is in: %v\n%s", err, log.String())
			}
			if left := tree(t, d.Store); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if places := d.Stored(0); len(places) > 0 {
				t.Errorf("stored: %v", places)
			}
		})
	}
}

func withPassword(url string) string {
	return strings.Replace(url, "http://", "http://u:s3cretword@", 1)
}

// noise does not compress.
func noise(n int) string {
	var b strings.Builder
	for s := "seed"; b.Len() < n; {
		s = sum([]byte(s))
		b.WriteString(s)
	}
	return b.String()
}

// A sum that somebody trusts replaces the repository's, and what was stored without it is not taken
// for it.
func TestDownloadWithSum(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	first := jar(t, "postgres.txz", xz(t, tarball(t, programs("18.3")...)))
	r.add(platform, newest, first)
	d := downloader(t, r.URL+"/m2")
	unpinned, err := d.Get(t.Context(), 18)
	if err != nil {
		t.Fatal(err)
	}
	second := jar(t, "postgres.txz", xz(t, tarball(t, programs("18.3, pinned")...)))
	r.files[artifactPath(platform, newest)] = second
	d.SHA256 = strings.ToUpper(sum(second))
	pinned, err := d.Get(t.Context(), 18)
	if err != nil || pinned == unpinned {
		t.Fatalf("%s beside %s, %v", pinned, unpinned, err)
	}
	if n := r.times(artifactPath(platform, newest) + ".sha256"); n != 1 {
		t.Errorf("asked %d times for the published sum", n)
	}
}

// Many at once: one downloads, all get it. What a killed one left is no hindrance.
func TestDownloadAtOnce(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.add(platform, newest, jar(t, "postgres.txz", xz(t, tarball(t, programs("18.3")...))))
	d := downloader(t, r.URL+"/m2")
	stale := filepath.Join(d.Store, newest+"-"+platform+".partial", "postgresql", "bin")
	if err := errors.Join(os.MkdirAll(stale, 0o700),
		os.WriteFile(filepath.Join(stale, "postgres"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := d.Get(context.Background(), 0)
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := os.ReadFile(filepath.Join(dir, "pg_ctl")); err != nil || len(out) == 0 {
				t.Errorf("not whole: %v", err)
			}
		})
	}
	wg.Wait()
	if n := r.times(artifactPath(platform, newest)); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
	if _, err := os.Stat(filepath.Join(d.Store, newest+"-"+platform+".partial")); !os.IsNotExist(err) {
		t.Errorf("the partial download: %v", err)
	}
}

func TestDownloadHonoursContext(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	d := downloader(t, r.URL+"/m2")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("had enough")
	cancel(cause)
	if _, err := d.Get(ctx, 0); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// Programs that somebody else may change are not run.
func TestStoreOfOthers(t *testing.T) {
	t.Parallel()
	d := downloader(t, newRepository(t).URL)
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
	r := newRepository(t)
	r.add(platform, newest, jar(t, "postgres.txz",
		xz(t, tarball(t, append(programs("18.3"), file{name: "noise", content: noise(3 << 20)})...))))
	unpacksTo := jar(t, "postgres.txz",
		xz(t, tarball(t, append(programs("17.5"), file{name: "zeros", content: strings.Repeat("\x00", 3<<20)})...)))
	r.add(platform, "17.5.0", unpacksTo)
	d := downloader(t, r.URL+"/m2")
	parent := filepath.Dir(d.Store)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs",
		parent).CombinedOutput(); err != nil {
		t.Skipf("this system does not let root mount: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", parent).Run() })
	for _, version := range []int{18, 17} { // while it is saved, while it is unpacked
		_, err := d.Get(t.Context(), version)
		if err == nil || !strings.Contains(err.Error(), "is full") || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
			t.Errorf("%d: got %v", version, err)
		}
	}
	if left := tree(t, d.Store); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
