package binaries_test

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

func TestUnpack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	archive := tarball(
		t,
		file{name: "./", kind: tar.TypeDir},
		file{name: "./bin/", kind: tar.TypeDir, mode: 0o777},
		file{name: "./bin/postgres", content: "program", mode: 0o6777},
		file{name: "lib/deep/libpq.so.5.1", content: "library", mode: 0o444},
		file{name: "lib/libpq.so", link: "deep/libpq.so.5.1", kind: tar.TypeSymlink},
		file{name: "lib/dangling", link: "../nowhere", kind: tar.TypeSymlink},
		file{name: "bin/postmaster", link: "./bin/postgres", kind: tar.TypeLink},
	)
	if err := binaries.Unpack(bytes.NewReader(archive), dir, binaries.RealLimits()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		content string
		mode    fs.FileMode
	}{
		"bin/postgres":   {"program", 0o755}, // neither set-user-id nor writable for others
		"bin/postmaster": {"program", 0o755},
		"lib/libpq.so":   {"library", 0o644},
	} {
		b, err := os.ReadFile(filepath.Join(dir, path))
		fi, statErr := os.Stat(filepath.Join(dir, path))
		if err != nil || statErr != nil || string(b) != want.content || fi.Mode() != want.mode {
			t.Errorf("%s: %q, %v, %v", path, b, fi.Mode(), err)
		}
	}
}

// Archives that want to write or to point elsewhere, or that are larger than anything real.
func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files []file
		want  string
	}{
		"traversal":                {[]file{{name: "bin/../../evil", content: "x"}}, "leaves"},
		"traversal at once":        {[]file{{name: "../evil", content: "x"}}, "leaves"},
		"traversal of a directory": {[]file{{name: "../evil", kind: tar.TypeDir}}, "leaves"},
		"absolute":                 {[]file{{name: "OUTSIDE/evil", content: "x"}}, "leaves"},
		"absolute link":            {[]file{{name: "bin", link: "OUTSIDE", kind: tar.TypeSymlink}}, "leaves"},
		"relative link out":        {[]file{{name: "bin", link: "../outside", kind: tar.TypeSymlink}}, "leaves"},
		"link out, then through it": {
			[]file{
				{name: "a/b/s", link: "../..", kind: tar.TypeSymlink},
				{name: "a/b/t", link: "s/../outside", kind: tar.TypeSymlink},
				{name: "a/b/t/evil", content: "x"},
			}, "escapes",
		},
		"link out by a detour": {
			[]file{
				{name: "a/b/s", link: "../..", kind: tar.TypeSymlink},
				{name: "a/b/t", link: "s/../outside", kind: tar.TypeSymlink},
			}, "leaves",
		},
		"hard link out": {[]file{{name: "bin/x", link: "../outside/secret", kind: tar.TypeLink}}, "leaves"},
		"hard link through a link": {
			[]file{
				{name: "a/b/s", link: "../..", kind: tar.TypeSymlink},
				{name: "x", link: "a/b/s/../outside/secret", kind: tar.TypeLink},
			}, "",
		},
		"device":     {[]file{{name: "null", kind: tar.TypeChar}}, "neither a file"},
		"fifo":       {[]file{{name: "fifo", kind: tar.TypeFifo}}, "neither a file"},
		"file twice": {[]file{{name: "bin/x", content: "1"}, {name: "bin/x", content: "2"}}, "exists"},
		"file over a link": {
			[]file{{name: "x", link: "y", kind: tar.TypeSymlink}, {name: "x", content: "2"}}, "exists",
		},
		"claims a terabyte": {[]file{{name: "x", content: "1", size: 1 << 40}}, "more than is allowed"},
		"too much in all": {
			[]file{{name: "x", content: strings.Repeat("x", 600)}, {name: "y", content: strings.Repeat("x", 600)}},
			"more than is allowed",
		},
		"too many": {
			[]file{{name: "1"}, {name: "2"}, {name: "3"}, {name: "4"}, {name: "5"}}, "more than 4 entries",
		},
		"cut off": {[]file{{name: "x", content: "1", size: 900}}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir, outside := filepath.Join(parent, "dir"), filepath.Join(parent, "outside")
			for _, d := range []string{dir, outside} {
				if err := os.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range c.files {
				c.files[i].name = strings.Replace(c.files[i].name, "OUTSIDE", outside, 1)
				c.files[i].link = strings.Replace(c.files[i].link, "OUTSIDE", outside, 1)
			}
			err := binaries.Unpack(bytes.NewReader(tarball(t, c.files...)), dir,
				binaries.Limits{Bytes: 1000, Entries: 4})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := tree(t, outside); len(got) != 1 {
				t.Errorf("written outside: %v", got)
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "x")); string(b) == "secret" {
				t.Error("a file from outside is in the archive's directory")
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 2 {
				t.Errorf("beside the directory: %v, %v", entries, err)
			}
		})
	}
}
