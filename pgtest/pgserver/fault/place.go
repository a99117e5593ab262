package fault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// TB is the part of [testing.TB] that the kit needs where a test may be skipped.
type TB interface {
	pgserver.TB
	Skipf(format string, args ...any)
}

// socketName is the name of a Unix socket that clients look for under port 5432.
const socketName = ".s.PGSQL.5432"

// shortDir makes a directory of the owner that nobody else can enter, with a path short enough for
// a Unix socket. The temporary directory is tried after the parents: it may be too long, read-only,
// or closed to the owner.
func shortDir(o pgserver.Owner, parents ...string) (string, error) {
	var failed []error
	for _, parent := range append(parents, os.TempDir(), "/tmp", "/dev/shm", "/var/tmp") {
		dir, err := os.MkdirTemp(parent, "fault")
		if err == nil {
			if err = usable(dir, o); err == nil {
				return dir, nil
			}
			os.Remove(dir)
		}
		failed = append(failed, err)
	}
	return "", fmt.Errorf("no directory for a socket: %w", errors.Join(failed...))
}

func usable(dir string, o pgserver.Owner) error {
	if n := len(filepath.Join(dir, socketName)); n > binaries.MaxSocketPath {
		return fmt.Errorf("%s is too long for a socket's path", dir)
	}
	if o.IsCaller() {
		return nil
	}
	if err := o.Chown(dir); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", `test -w "$0" && test -x "$0"`, dir)
	cmd.Dir, cmd.SysProcAttr = "/", o.Attr()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("user %s cannot enter %s", o.Name, dir)
	}
	return nil
}
