package cluster

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// owner is the user that the processes run as if the caller is root, whom PostgreSQL refuses; nil
// for an ordinary user.
type owner struct{ uid, gid int }

func unprivileged() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil && uid > 0 {
			return &owner{uid, gid}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
}

// group is the same user in a group that nobody else is in, by which the packet filter knows a
// node's processes.
func (o *owner) group() *owner {
	if o == nil {
		return nil
	}
	return &owner{o.uid, 1<<30 + rand.IntN(1<<29)}
}

// attr makes a command run as o, in a session of its own: out of reach of a terminal's Ctrl-C.
func (o *owner) attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if o != nil {
		a.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return a
}

func (o *owner) chown(path string) error {
	if o == nil {
		return nil
	}
	return os.Lchown(path, o.uid, o.gid)
}
