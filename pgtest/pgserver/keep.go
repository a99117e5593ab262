package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// keepScript holds the server by descriptor 3 for $1 seconds, in the background, while the file
// "kept" is there.
const keepScript = `PATH=/usr/bin:/bin:$PATH
while [ "$1" -gt 0 ] && [ -e "$0/kept" ]; do
	sleep 1 3>&- || exit
	set -- $(($1 - 1))
done </dev/null >/dev/null 2>&1 &`

// Keep makes the server stay up for d, in whole seconds, even without users, so that a developer
// can look at a database after the tests. It has no effect on a server that is already kept, or on
// PGTEST_URL's. [Server.EndKeep] undoes it.
func (s *Server) Keep(d time.Duration) error {
	if !s.own {
		return nil
	}
	root, err := tree.Open(s.dir)
	if err != nil {
		return fmt.Errorf("pgserver: keep the server: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(keptFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		f.Close()
		if err = s.holdFor(d); err != nil {
			_ = root.Remove(keptFile)
		}
	}
	if err != nil {
		return fmt.Errorf("pgserver: keep the server: %w", err)
	}
	return nil
}

func (s *Server) holdFor(d time.Duration) error {
	inst, err := hold(s.dir)
	if err != nil {
		return err
	}
	users := os.NewFile(uintptr(inst.users), "users")
	defer users.Close()
	cmd := exec.Command("/bin/sh", "-c", keepScript, s.dir, strconv.Itoa(int(d/time.Second)))
	cmd.Dir = "/"
	cmd.Env = binaries.Environ()
	cmd.ExtraFiles = []*os.File{users}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Run() // returns at once: the loop goes on in the background
}

// EndKeep lets a server that was kept go a few seconds after its last user.
func (s *Server) EndKeep() error {
	if !s.own {
		return nil
	}
	root, err := tree.Open(s.dir)
	if err == nil {
		defer root.Close()
		err = root.Remove(keptFile)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgserver: end the keeping: %w", err)
	}
	return nil
}

const keptFile = "kept" // see keepScript
