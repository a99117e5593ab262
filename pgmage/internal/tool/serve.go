//go:build unix

package tool

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// serve runs a program until a signal ends it. The program has a process group of its own and no
// standard input. It gets each signal once, from here: a terminal, which signals a whole group,
// does not reach it. If Mage itself is ended, the program gets SIGTERM.
func serve(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	mage := os.Getppid() // Mage runs its targets in a child, and passes no signal on to it
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	watch := time.NewTicker(200 * time.Millisecond)
	defer watch.Stop()
	for {
		told := os.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			return statusOf(err)
		case told = <-signals:
		case <-watch.C:
			if os.Getppid() == mage {
				continue
			}
		}
		watch.Stop()
		_ = cmd.Process.Signal(told) // it may have ended
	}
}
