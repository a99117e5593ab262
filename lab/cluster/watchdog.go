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

// watchdog stops the cluster when the pipe from us is closed: by stop, or by the kernel when this
// process dies. So there is one way to stop, and each orderly end tests what happens after a
// disorderly one.
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

// stop makes the watchdog do its work, and waits.
func (d *watchdog) stop() error {
	d.pipe.Close()
	err := d.cmd.Wait()
	// It was killed: here is another.
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
