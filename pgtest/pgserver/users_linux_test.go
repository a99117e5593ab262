package pgserver_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// asUser runs this test binary, which acquires a server, by a command that takes rights or names
// from it.
func asUser(t *testing.T, home string, adapt func(*exec.Cmd), command ...string) (out string, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can play other users")
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skip(err)
	}
	self := filepath.Join(home, "self")
	if out, err := exec.Command("cp", os.Args[0], self).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(command[0], append(command[1:], self)...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childDir+"="+anywhere, "HOME="+home, "TMPDIR="+home, "XDG_CACHE_HOME=")
	if adapt != nil {
		adapt(cmd)
	}
	said, err := cmd.CombinedOutput()
	return string(said), err
}

var odd = map[string][]string{
	"a user without a name":    {"setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"},
	"root of a user namespace": {"unshare", "--user", "--map-root-user"},
	"root without CAP_SETUID": {
		"setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid",
	},
	"root without CAP_CHOWN":        {"setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown"},
	"root without CAP_DAC_OVERRIDE": {"setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"},
	"no environment":                {"env", "-i", childDir + "=" + anywhere},
}

// A server starts for users and in namespaces in which PostgreSQL by itself would not.
func TestOddUsers(t *testing.T) {
	t.Parallel()
	for name, command := range odd {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := asUser(t, publicDir(t), nil, command...)
			if err != nil || !strings.Contains(out, "postgres://") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// Where no user namespace may be made the error says what is the matter, and what to do.
func TestOddUsersWithoutNamespaces(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"a user without a name":   {"has no name in /etc/passwd", "me:x:4242:4242:", "PGTEST_URL"},
		"root without CAP_SETUID": {"no CAP_SETUID", "run as an ordinary user", "PGTEST_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The limit holds in the namespace in which it is set, and the ids there are as
			// outside.
			command := append([]string{
				"/bin/sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh",
			}, odd[name]...)
			out, err := asUser(t, publicDir(t), func(cmd *exec.Cmd) {
				all := []syscall.SysProcIDMap{{Size: 65536}}
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all,
					GidMappingsEnableSetgroups: true,
				}
			}, command...)
			if err == nil {
				t.Fatalf("a server without a namespace: %s", out)
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in %s", w, out)
				}
			}
		})
	}
}

// A server starts for a user whose home cannot be used, from a cache in the temporary directory.
func TestOddHomes(t *testing.T) {
	t.Parallel()
	temporary := publicDir(t)
	for name, home := range map[string]string{
		"another user's": "/", "missing": "/nonexistent", "read-only": "/proc/self/fd",
	} {
		out, err := asUser(t, temporary, nil,
			"setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups", "env", "HOME="+home)
		if err != nil || !strings.Contains(out, "postgres://") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// Root makes nothing in the home of another user, who could not enter it, or replace it by a link.
func TestRootLeavesOtherHomesAlone(t *testing.T) {
	t.Parallel()
	home := publicDir(t)
	out, err := asUser(t, home, nil, "env", "-u", "XDG_CACHE_HOME")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(home, ".cache")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	if out, err := asUser(t, home, nil, "env"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Lstat(filepath.Join(home, ".cache")); err == nil {
		t.Error("made in another user's home")
	}
}

// Whatever the umask is, the server's user can enter what root makes.
func TestUmask(t *testing.T) {
	for _, umask := range []int{0o027, 0o077} {
		before := syscall.Umask(umask)
		t.Setenv("XDG_STATE_HOME", filepath.Join(scratchDir(t), "s"))
		syscall.Umask(before)
		before = syscall.Umask(umask)
		dev := pgserver.Dev{Name: "u"}
		_, err := dev.Start(t.Context())
		syscall.Umask(before)
		if err != nil {
			t.Errorf("umask %o: %v", umask, err)
		}
		if err := dev.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Root keeps a server whose directory belongs to another user without following a link there.
func TestKeepFollowsNoLinks(t *testing.T) {
	t.Parallel()
	dir := scratchDir(t)
	precious := filepath.Join(dir, "kept")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	parent := publicDir(t)
	s := acquire(t, pgserver.Options{Dir: parent})
	found := servers(t, parent)
	if len(found) != 1 {
		t.Fatal(found)
	}
	server, aside, kept := found[0], filepath.Join(parent, "aside"), filepath.Join(found[0], "kept")
	refused := func(what string) {
		t.Helper()
		if s.Keep(time.Second) == nil {
			t.Errorf("kept by a link to %s", what)
		}
		if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
			t.Errorf("written through a link to %s: %q, %v", what, got, err)
		}
	}
	if err := os.Symlink(precious, kept); err != nil {
		t.Fatal(err)
	}
	refused("a file")
	if err := errors.Join(os.Remove(kept), os.Rename(server, aside), os.Symlink(dir, server)); err != nil {
		t.Fatal(err)
	}
	refused("a directory")
	_ = s.EndKeep()
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("EndKeep follows a link: %v", err)
	}
	if err := errors.Join(os.Remove(server), os.Rename(aside, server)); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(time.Second); err != nil {
		t.Errorf("the directory is back: %v", err)
	}
}

// The folder of a development server belongs to a user whom root does not trust: links there lead
// root nowhere.
func TestDevFollowsNoLinks(t *testing.T) {
	t.Parallel()
	owner, err := pgserver.FindOwner()
	if err != nil || owner.IsCaller() {
		t.Skip("only root has something to lose")
	}
	for _, name := range []string{"data/postgresql.auto.conf", "lock", "log", "password", "data/postmaster.pid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := scratchDir(t)
			dev := pgserver.Dev{Name: "l", Dir: base, Port: 0}
			if _, err := dev.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := dev.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			precious := filepath.Join(base, "precious")
			if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(base, "l", name)
			os.Remove(path)
			if err := os.Symlink(precious, path); err != nil {
				t.Fatal(err)
			}
			url, err := dev.Start(t.Context())
			if got, err := os.ReadFile(precious); err != nil || string(got) != "precious" {
				t.Errorf("written through the link: %q, %v", got, err)
			}
			if fi, err := os.Stat(precious); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Error("given away through the link")
			}
			// The server need not start.
			if strings.Contains(url, "precious") || err != nil && strings.Contains(err.Error(), "precious") {
				t.Errorf("read through the link: %s, %v", url, err)
			}
			os.Remove(path)
			if err := dev.Stop(t.Context()); err != nil {
				t.Log(err)
			}
		})
	}
}
