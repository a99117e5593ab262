package cluster

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

//go:embed watchdog.sh
var watchdogScript string

// watchdog stops the cluster when our end of the pipe is closed, by stop or by the kernel when this
// process dies. There is only one way to stop, so every orderly end tests the disorderly one too.
type watchdog struct {
	args []string
	cmd  *exec.Cmd
	pipe *os.File
	out  *bytes.Buffer
}

func watch(dir, table, nft string, keep bool) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := &watchdog{
		args: []string{"-c", watchdogScript, "cluster-watchdog", dir, table, strconv.FormatBool(keep), nft}, pipe: w,
	}
	if err := d.run(r); err != nil {
		w.Close()
		return nil, err
	}
	return d, nil
}

func (d *watchdog) run(alive *os.File) error {
	d.cmd, d.out = exec.Command("/bin/sh", d.args...), new(bytes.Buffer)
	d.cmd.Dir, d.cmd.Stdin, d.cmd.Stderr = "/", alive, d.out
	d.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return d.cmd.Start()
}

// stop triggers the watchdog and waits for it.
func (d *watchdog) stop() error {
	d.pipe.Close()
	err := d.cmd.Wait()
	// It was killed, so start another one.
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == -1 {
		nothing, open := os.Open(os.DevNull)
		if open != nil {
			return open
		}
		defer nothing.Close()
		if err = d.run(nothing); err == nil {
			err = d.cmd.Wait()
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(d.out.Bytes()))
	}
	return nil
}
