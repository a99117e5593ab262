package tree_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	from, to := filepath.Join(base, "from"), filepath.Join(base, "to")
	write(t, filepath.Join(from, "a", "b", "file"), "text")
	if err := tree.Copy(from, to, os.Geteuid(), os.Getegid()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "a", "b", "file")); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	if err := tree.Copy(from, to, os.Geteuid(), os.Getegid()); err == nil {
		t.Error("copied over what is there")
	}
}

// Nothing is read or written through a link that leads out of the directory, whichever part of the
// path it is.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]struct{ at, target string }{
		"file":      {"dir/file", "secret/file"},
		"folder":    {"dir/sub", "secret"},
		"directory": {"dir", "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, outside := t.TempDir(), t.TempDir()
			write(t, filepath.Join(outside, "secret", "file"), "secret")
			at := filepath.Join(base, link.at)
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(outside, link.target), at); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(base, "dir")
			for _, file := range []string{"file", "sub/file"} {
				if b, err := tree.ReadFile(dir, file); err == nil {
					t.Errorf("read %q", b)
				}
				// The error is that of a link, or of a folder that is missing.
				_ = tree.WriteFile(dir, file, "overwritten", os.Geteuid(), os.Getegid())
			}
			copied := filepath.Join(base, "copy")
			_ = tree.Copy(dir, copied, os.Geteuid(), os.Getegid())
			if b, err := os.ReadFile(filepath.Join(copied, "file")); err == nil && string(b) == "secret" {
				t.Error("copied from outside")
			}
			if b, err := os.ReadFile(filepath.Join(outside, "secret", "file")); err != nil || string(b) != "secret" {
				t.Errorf("outside: %q, %v", b, err)
			}
		})
	}
}

// A FIFO in the place of a file holds nobody up.
func TestFIFO(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := tree.ReadFile(dir, "file"); err == nil {
		t.Errorf("read %q", b)
	}
	if err := tree.WriteFile(dir, "file", "text", os.Geteuid(), os.Getegid()); err == nil {
		t.Error("written")
	}
	if err := tree.Copy(dir, filepath.Join(t.TempDir(), "copy"), os.Geteuid(), os.Getegid()); err == nil {
		t.Error("copied")
	}
}
