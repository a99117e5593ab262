package pghealth_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// ownServer is a server of one test's own, for what would hurt others.
type ownServer struct{ pgserver.Dev }

// initialized is a data directory that own servers are copied from: initdb takes longer than most
// tests.
var initialized template

type template struct {
	once sync.Once
	dir  string
	err  error
}

func (i *template) get() (string, error) {
	i.once.Do(func() {
		if i.dir, i.err = serverDir(); i.err != nil {
			return
		}
		dev := pgserver.Dev{Dir: i.dir}
		if _, i.err = dev.Start(context.Background()); i.err == nil {
			i.err = dev.Stop(context.Background())
		}
	})
	return i.dir, i.err
}

func (i *template) remove() {
	if i.dir != "" {
		os.RemoveAll(i.dir)
	}
}

// serverDir returns a new directory that the server can enter, who is another user if we are root.
// Its name is short: that of a socket must be.
func serverDir() (string, error) {
	dir, err := os.MkdirTemp("", "pgh")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// newServer makes a server that is not started, with lines of postgresql.conf.
func newServer(t *testing.T, port int, conf string) ownServer {
	t.Helper()
	from, err := initialized.get()
	var missing *pgserver.NotFoundError
	if errors.As(err, &missing) {
		t.Skip("needs PostgreSQL's binaries, PGTEST_URL is not enough")
	}
	if err != nil {
		t.Fatal(err)
	}
	return copyServer(t, from, port, "fsync = off\nautovacuum = off\nshared_buffers = 16MB\n"+conf)
}

// copyServer copies the server that is stopped in dir.
func copyServer(t *testing.T, from string, port int, conf string) ownServer {
	t.Helper()
	dir, err := serverDir()
	if err != nil {
		t.Fatal(err)
	}
	s := ownServer{pgserver.Dev{Dir: dir, Port: port}}
	t.Cleanup(func() {
		if err := s.Remove(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Join(from, "default"),
		dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.append(t, "postgresql.conf", conf)
	return s
}

// start returns the server's URL.
func (s ownServer) start(t *testing.T) string {
	t.Helper()
	url, err := s.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func (s ownServer) stop(t *testing.T) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s ownServer) data(name string) string { return filepath.Join(s.Dir, "default", "data", name) }

// append adds to a file of the data directory, which is made if need be.
func (s ownServer) append(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(s.data(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	of, err := os.Stat(s.data("PG_VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	owner := of.Sys().(*syscall.Stat_t)
	if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

func (s ownServer) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(s.data(name)); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, port := listen(t)
	l.Close()
	return int(port)
}

// passwordServer is a running server that listens on loopback and asks for a password.
func passwordServer(t *testing.T) (ownServer, string) {
	t.Helper()
	s := newServer(t, freePort(t), "")
	return s, s.start(t)
}
