package pgconfig_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgconfig"
)

// TestPipe: loading does not wait for a writer of a pipe.
func TestPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	text := refused(t, pgconfig.Source{Environ: env{
		"DATABASE_URL": "postgres://app@db/shop", "DATABASE_PASSWORD_FILE": path,
	}})
	if !strings.Contains(text, "names a file that cannot be read") {
		t.Error(text)
	}
	text = refused(t, pgconfig.Source{Environ: env{}, DotEnv: []string{path}})
	equal(t, "error", text, path+" is a pipe: put the variables into the environment of the program, or into a file")
}
