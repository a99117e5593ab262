package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// process is a child process. nil stands for one that has ended.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// run starts a program as o in a directory of the cluster, by which processes finds it. The program
// gets only what Patroni's Python and PostgreSQL's locale need, and nothing of the caller's
// environment: another Python in PATH has no Patroni.
func (c *Cluster) run(o pgserver.Owner, dir, log, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, out, out, o.Attr()
	cmd.Env = []string{
		"PATH=" + c.programs.postgres + ":/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		"LC_ALL=C.UTF-8", "HOME=" + dir,
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() { defer close(p.ended); _ = cmd.Wait() }()
	return p, nil
}

// signal sends a signal and waits until the process has ended.
func (p *process) end(s syscall.Signal) {
	if p != nil {
		_ = p.cmd.Process.Signal(s)
		p.wait()
	}
}

func (p *process) wait() {
	if p != nil {
		<-p.ended
	}
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// failed returns an error with the last lines of the log if the process has ended.
func (p *process) failed() error {
	if p == nil || p.running() {
		return nil
	}
	return fmt.Errorf("%s ended: %s\n%s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, tail(p.log))
}

// tail returns the end of a log.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const size = 2000
	if fi, err := f.Stat(); err == nil && fi.Size() > size {
		_, _ = f.Seek(-size, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	return string(bytes.TrimSpace(text))
}

// processes returns the ids of the processes whose working directory is dir or below it: the
// programs that were started there and all their descendants, even those with another session or
// parent. PostgreSQL's processes work in their data directory.
func processes(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/")) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// signalAll sends a signal to all processes that work in dir, and to those that they start
// meanwhile.
func signalAll(dir string, s syscall.Signal) error {
	done := map[int]bool{}
	for {
		pids, err := processes(dir)
		if err != nil {
			return err
		}
		fresh := false
		for _, pid := range pids {
			if done[pid] {
				continue
			}
			done[pid], fresh = true, true
			if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("signal process %d: %w", pid, err)
			}
		}
		if !fresh {
			return nil
		}
	}
}
