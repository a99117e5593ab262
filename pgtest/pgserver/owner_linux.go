package pgserver

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mayBecome reports whether this process, which is root, may start programs as another user, and
// write that user's files.
func mayBecome(o Owner) bool {
	const needed = 1<<0 | 1<<1 | 1<<6 | 1<<7 // capabilities(7): CHOWN, DAC_OVERRIDE, SETGID, SETUID
	return capabilities()&needed == needed && mapped("/proc/self/uid_map", o.UID) && mapped("/proc/self/gid_map", o.GID)
}

// capabilities returns the effective ones, or all if they cannot be read.
func capabilities() uint64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ^uint64(0)
	}
	_, rest, _ := strings.Cut(string(b), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	caps, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return ^uint64(0)
	}
	return caps
}

// mapped reports whether the user namespace of this process has the id.
func mapped(file string, id int) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return true // a kernel without user namespaces
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // first id inside, first id outside, count
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(f[0])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && id >= first && id-first < count {
			return true
		}
	}
	return false
}

// appearAs makes a command run in a user namespace in which the caller has the id that o appears
// as.
func appearAs(a *syscall.SysProcAttr, o Owner) {
	a.Cloneflags = syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: o.appears, HostID: o.UID, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: o.GID, HostID: o.GID, Size: 1}}
}
