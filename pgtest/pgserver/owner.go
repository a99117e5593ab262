package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Owner is the user that PostgreSQL's programs run as. PostgreSQL refuses to run as root, so for
// root this is an unprivileged user, and for all others it is the caller.
type Owner struct {
	Name     string
	UID, GID int
	// appears is the user that the programs take themselves for, in a user namespace of their own,
	// where they must not see UID; 0 for none. Files belong to UID all the same.
	appears int
}

// FindOwner returns the owner for this process. For root it looks for the users postgres, _postgres
// and nobody, in this order, and fails if there is none of them.
//
// On Linux, a process that may not become that user, or whose own user has no name, runs
// PostgreSQL's programs in a user namespace, where they have one.
func FindOwner() (Owner, error) {
	uid := os.Geteuid()
	if uid != 0 {
		o := caller()
		if _, err := user.LookupId(o.Name); err != nil { // initdb wants a name
			if named, err := unprivileged(); err == nil {
				o.appears = named.UID
			}
		}
		return o, nil
	}
	o, err := unprivileged()
	if err == nil && !mayBecome(o) {
		return Owner{Name: o.Name, UID: uid, GID: os.Getegid(), appears: o.UID}, nil
	}
	return o, err
}

func unprivileged() (Owner, error) {
	// nobody comes last: other daemons may run as it.
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil && uid > 0 {
			return Owner{Name: name, UID: uid, GID: gid}, nil
		}
	}
	return Owner{}, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run " +
		"it as; run as an ordinary user")
}

// caller returns the user of this process, whose name needs no entry in the system's list of users.
func caller() Owner {
	return Owner{Name: strconv.Itoa(os.Geteuid()), UID: os.Geteuid(), GID: os.Getegid()}
}

// IsCaller reports whether the owner is the user of this process.
func (o Owner) IsCaller() bool { return o.UID == os.Geteuid() }

// Attr makes a command run as the owner, in a session of its own: signals from the terminal, such
// as Ctrl-C, do not reach it.
func (o Owner) Attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	switch {
	case !o.IsCaller():
		a.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	case o.appears != 0:
		appearAs(a, o)
	}
	return a
}

// may reports whether a test of the shell, such as -w, is true for the owner. It makes nothing that
// a kill could leave behind.
func (o Owner) may(test, path string) bool {
	return o.command(context.Background(), "/bin/sh", "-c", `test "$0" "$1"`, test, path).Run() == nil
}

// explain adds what to do to an error of starting a program as the owner.
func (o Owner) explain(err error) error {
	if err == nil || o.appears == 0 {
		return err
	}
	if o.UID == 0 {
		return fmt.Errorf("%w\nPostgreSQL refuses to run as root, and this process may neither become the user %s "+
			"(no CAP_SETUID or CAP_CHOWN, or not mapped in this user namespace) nor make a user namespace: run as an "+
			"ordinary user, or set PGTEST_URL to a server", err, o.Name)
	}
	return fmt.Errorf("%w\nthe user %d has no name in /etc/passwd, which initdb needs, and this process may not make "+
		"a user namespace: add the line me:x:%[2]d:%d::/tmp:/bin/sh to /etc/passwd, or set PGTEST_URL to a server",
		err, o.UID, o.GID)
}

// Chown gives path to the owner. It does not follow a symbolic link, and does nothing if the owner
// is the caller.
func (o Owner) Chown(path string) error {
	if o.IsCaller() {
		return nil
	}
	return os.Lchown(path, o.UID, o.GID)
}
