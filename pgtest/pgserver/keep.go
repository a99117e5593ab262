package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// keptFile has the second until which the watchdog keeps a server without users.
const keptFile = "kept"

// Keep makes the server stay up for d, in whole seconds, even without users, so that a developer
// can look at a database after the tests. The last call counts. It has no effect on PGTEST_URL's
// server. [Server.EndKeep] undoes it.
func (s *Server) Keep(d time.Duration) error {
	if !s.own {
		return nil
	}
	o, err := FindOwner()
	if err == nil {
		until := strconv.FormatInt(time.Now().Add(d).Unix(), 10)
		err = tree.WriteFile(s.dir, keptFile, until+"\n", o.UID, o.GID)
	}
	if err != nil {
		return fmt.Errorf("pgserver: keep the server: %w", err)
	}
	return nil
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
