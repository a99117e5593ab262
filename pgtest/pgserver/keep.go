package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// keepScript holds the server for $1 seconds in the background, as long as the file "kept" is
// there.
const keepScript = `PATH=/usr/bin:/bin:$PATH
exec 9>"$0/users" && echo >&9 || exit
while [ "$1" -gt 0 ] && [ -e "$0/kept" ]; do
	sleep 1 9>&- || exit
	set -- $(($1 - 1))
done </dev/null >/dev/null 2>&1 &`

// Keep makes the server stay up for d, in whole seconds, even without users, so that somebody can
// look at a database after the tests. It has no effect on a server that is kept already, nor on
// PGTEST_URL's. [Server.EndKeep] undoes it.
func (s *Server) Keep(d time.Duration) error {
	if !s.own {
		return nil
	}
	f, err := os.OpenFile(s.keptFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgserver: keep the server: %w", err)
	}
	f.Close()
	cmd := exec.Command("/bin/sh", "-c", keepScript, s.dir, strconv.Itoa(int(d/time.Second)))
	cmd.Dir = "/"
	cmd.Env = binaries.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil { // returns at once, with the server held
		os.Remove(s.keptFile())
		return fmt.Errorf("pgserver: keep the server: %w", err)
	}
	return nil
}

// EndKeep lets a server that was kept go a few seconds after its last user.
func (s *Server) EndKeep() error {
	if !s.own {
		return nil
	}
	if err := os.Remove(s.keptFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgserver: end the keeping: %w", err)
	}
	return nil
}

func (s *Server) keptFile() string { return filepath.Join(s.dir, "kept") }
