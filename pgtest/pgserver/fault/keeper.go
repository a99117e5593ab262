package fault

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgtest/pgserver"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/binaries"
	"github.com/page-builder/persistence/pgtest/pgserver/internal/tree"
)

// socketName is the name of a Unix socket that clients look for under port 5432.
const socketName = ".s.PGSQL.5432"

// keeperScript makes the directory $0 and waits for the end of its input. The kernel closes that
// for a test process that dies, at whatever moment. Then it ends the programs in the directory and
// removes it.
//
// A server that was killed leaves 56 bytes of shared memory, whose number is in line 7 of its file.
const keeperScript = `PATH=/usr/bin:/bin:$PATH
trap '' HUP INT TERM PIPE
umask 077
mkdir "$0" || exit
mkdir "$0/running" && echo made
exec >/dev/null 2>&1
read -r _
mv "$0/running" "$0/over"
for file in "$0"/over/*; do
	kill -QUIT "${file##*/}" && kill -CONT "${file##*/}"
done
ipcrm -m "$(sed -n '7s/.* //p' "$0/data/postmaster.pid")"
for second in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$0" && [ ! -e "$0" ] && exit
	sleep 1 || exit
done`

// programScript runs a program under the process id that it has written down before. A keeper that
// is ending has moved the folder away: then the program does not start.
const programScript = `: >"$0/running/$$" && exec "$@"`

// keeper is a process that owns a directory. The programs of the directory and its files do not
// outlive this process.
type keeper struct {
	dir   string
	owner pgserver.Owner
	cmd   *exec.Cmd
	input *os.File
}

// keep makes a directory of the owner that nobody else can enter, with a path short enough for a
// Unix socket. The temporary directory is tried after the parents: it may be too long, read-only,
// or closed to the owner.
func keep(o pgserver.Owner, parents ...string) (*keeper, error) {
	var failed []error
	name := fmt.Sprintf("fault-%d-%s", os.Getpid(), strconv.FormatUint(rand.Uint64(), 36))
	for _, parent := range append(parents, os.TempDir(), "/tmp", "/dev/shm", "/var/tmp") {
		if !filepath.IsAbs(parent) { // the keeper is in another directory
			continue
		}
		k := &keeper{dir: filepath.Join(parent, name), owner: o}
		err := k.start()
		if err == nil {
			return k, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("no directory for a socket: %w", errors.Join(failed...))
}

func (k *keeper) start() error {
	if n := len(filepath.Join(k.dir, socketName)); n > binaries.MaxSocketPath {
		return fmt.Errorf("%s is too long for a socket's path", k.dir)
	}
	stdin, input, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	output, stdout, err := os.Pipe()
	if err != nil {
		input.Close()
		return err
	}
	defer output.Close()
	k.input = input
	k.cmd = k.command("/bin/sh", "-c", keeperScript, k.dir)
	k.cmd.Stdin, k.cmd.Stdout, k.cmd.Stderr = stdin, stdout, stdout
	err = k.cmd.Start()
	stdout.Close()
	if err != nil {
		input.Close()
		return err
	}
	if said, _ := bufio.NewReader(output).ReadString('\n'); said != "made\n" {
		k.release()
		return errors.New(strings.TrimSpace(said))
	}
	return nil
}

// command prepares a command of the owner that need not end before the directory.
func (k *keeper) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", binaries.Environ(), k.owner.Attr()
	return cmd
}

// program prepares a program of the owner that ends before the directory. The caller calls forget
// when it has ended.
func (k *keeper) program(program string, args ...string) *exec.Cmd {
	return k.command("/bin/sh", append([]string{"-c", programScript, k.dir, program}, args...)...)
}

// forget is for a program that has ended, whose process id may become another's.
func (k *keeper) forget(cmd *exec.Cmd) {
	if root, err := tree.Open(k.dir); err == nil {
		_ = root.Remove(filepath.Join("running", strconv.Itoa(cmd.Process.Pid))) // the keeper may have moved it
		root.Close()
	}
}

// write makes a file of the owner.
func (k *keeper) write(name, text string) error {
	return tree.WriteFile(filepath.Join(k.dir, filepath.Dir(name)), filepath.Base(name), text, k.owner.UID, k.owner.GID)
}

// release removes the directory.
func (k *keeper) release() {
	k.input.Close()
	_ = k.cmd.Wait()
	os.RemoveAll(k.dir) // the keeper may have been killed
}
