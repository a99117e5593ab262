package pgserver

import (
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
}

// FindOwner returns the owner for this process. For root it looks for the users postgres, _postgres
// and nobody, in this order, and fails if there is none of them.
func FindOwner() (Owner, error) {
	if os.Geteuid() != 0 {
		return caller(), nil
	}
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
		"it as; " +
		"run as an ordinary user")
}

// caller returns the user of this process, whose name needs no entry in the system's list of users.
func caller() Owner {
	return Owner{Name: strconv.Itoa(os.Geteuid()), UID: os.Geteuid(), GID: os.Getegid()}
}

// IsCaller reports whether the owner is the user of this process.
func (o Owner) IsCaller() bool { return o.UID == os.Geteuid() }

// Attr makes a command run as the owner, in a session of its own: signals from the terminal, such
// as that of Ctrl-C, do not reach it.
func (o Owner) Attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if !o.IsCaller() {
		a.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	}
	return a
}

// Chown gives path to the owner. It does not follow a symbolic link, and does nothing if the owner
// is the caller.
func (o Owner) Chown(path string) error {
	if o.IsCaller() {
		return nil
	}
	return os.Lchown(path, o.UID, o.GID)
}

// private reports an error unless dir is a directory that belongs to uid and that nobody else can
// enter.
func private(dir string, uid int) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || !ok || int(st.Uid) != uid || fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a directory of user %d with mode 0700", dir, uid)
	}
	return nil
}
