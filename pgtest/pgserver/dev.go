package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
)

// ErrNotRunning is what [Dev.URL] returns for a server that is not up.
var ErrNotRunning = errors.New("the development server is not running")

// Dev is a durable PostgreSQL server for a developer's machine: it stays up until Stop, keeps its
// data, and survives logout and crash like any server. The zero value is the project's.
// Its methods may be called from several processes at once.
//
// It listens on a Unix socket in its directory, which only its user can enter, and on no TCP port
// unless Port is set.
type Dev struct {
	// Name tells several servers apart. Default: made from the path of the module around the
	// working directory, so that projects do not share a server by accident; "default" outside of a
	// module. In a workspace the module at its root counts, or else its folder; not with
	// GOWORK=off.
	Name string

	// Database is created if it does not exist, and named in the URL. Default: the last part of the
	// module's path; "app" outside of a module.
	Database string

	// Port opens 127.0.0.1:Port as well, with a random password that URL contains; for programs
	// that cannot use a Unix socket. It counts when the server is started. Zero: no TCP port.
	Port int

	// Dir is the parent of the server's directory. Default: pgserver in XDG_STATE_HOME, else
	// /var/lib/pgserver for root, since the user that the server runs as cannot enter root's home,
	// and pgserver in ~/.local/state for all others.
	Dir string

	// BinDir and Version choose the binaries as in [Options]. A data directory that exists is
	// served by the version that made it, if that is still installed.
	BinDir  string
	Version int
}

// devServer is a Dev with its defaults filled in.
type devServer struct {
	Dev
	owner Owner
	dir   string
}

func (d Dev) resolve() (*devServer, error) {
	name, database := "default", "app"
	if d.Name == "" || d.Database == "" {
		if here, err := os.Getwd(); err == nil {
			name, database = projectNames(here)
		}
	}
	if d.Name == "" {
		d.Name = name
	}
	if d.Database == "" {
		d.Database = database
	}
	if d.Name != filepath.Base(d.Name) || strings.HasPrefix(d.Name, ".") {
		return nil, fmt.Errorf("the name %q is not usable as a folder's name", d.Name)
	}
	if d.Port < 0 || d.Port > 65535 {
		return nil, fmt.Errorf("port %d: want 1 to 65535, or 0 for none", d.Port)
	}
	o, err := FindOwner()
	if err != nil {
		return nil, err
	}
	parent := d.Dir
	if parent == "" {
		if parent, err = binaries.Here().StateDir(); err != nil {
			return nil, err
		}
	}
	if parent, err = filepath.Abs(parent); err != nil {
		return nil, err
	}
	s := &devServer{Dev: d, owner: o, dir: filepath.Join(parent, d.Name)}
	if n := len(filepath.Join(s.dir, ".s.PGSQL.65535")); n > binaries.MaxSocketPath {
		return nil, fmt.Errorf("the socket path in %s would have %d bytes, more than the %d a system allows; "+
			"set XDG_STATE_HOME to a shorter path", s.dir, n, binaries.MaxSocketPath)
	}
	return s, nil
}

// Start starts the server if it is not up, makes its database, and returns the connection string.
// The first start takes a few seconds. If it is up already, with whatever port, nothing changes.
func (d Dev) Start(ctx context.Context) (string, error) {
	s, err := d.resolve()
	if err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return "", fmt.Errorf("pgserver: start: %w", err)
	}
	u, err := s.url()
	if err != nil {
		return "", fmt.Errorf("pgserver: start: %w", err)
	}
	return u.String(), nil
}

// Stop ends all sessions and stops the server. Stopping one that is not up is no error.
func (d Dev) Stop(ctx context.Context) error {
	s, err := d.resolve()
	if err == nil {
		err = s.stop(ctx, func() error { return nil })
	}
	if err != nil {
		return fmt.Errorf("pgserver: stop: %w", err)
	}
	return nil
}

// Remove stops the server and deletes its data.
func (d Dev) Remove(ctx context.Context) error {
	s, err := d.resolve()
	if err == nil {
		err = s.stop(ctx, s.remove)
	}
	if err != nil {
		return fmt.Errorf("pgserver: remove: %w", err)
	}
	return nil
}

// URL returns the connection string of a running server; with a Port it contains the password. The
// error is [ErrNotRunning] if the server is not up.
func (d Dev) URL() (string, error) {
	s, err := d.resolve()
	if err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	u, err := s.url()
	if err != nil {
		return "", fmt.Errorf("pgserver: %w", err)
	}
	return u.String(), nil
}
