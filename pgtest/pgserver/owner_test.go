package pgserver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Whoever runs the test, programs run and files belong to a user that PostgreSQL accepts.
func TestOwner(t *testing.T) {
	t.Parallel()
	o, err := pgserver.FindOwner()
	if err != nil {
		t.Fatal(err)
	}
	if o.UID == 0 || o.IsCaller() != (os.Geteuid() != 0) {
		t.Errorf("owner is %+v, the caller: %v", o, o.IsCaller())
	}
	cmd := exec.Command("sh", "-c", "id -u; id -g; ps -o sid= -p $$")
	cmd.Dir, cmd.SysProcAttr = "/", o.Attr()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Fields(string(out))
	// A session has the process id of the one that began it.
	want := []string{strconv.Itoa(o.UID), strconv.Itoa(o.GID), strconv.Itoa(cmd.Process.Pid)}
	if !slices.Equal(said, want) {
		t.Errorf("user, group and session of a program are %v, want %v", said, want)
	}

	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := o.Chown(link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{link: o.UID, file: os.Geteuid()} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Uid); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
}
