package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ChildTest is the name of the test that runs as the process of [KillChild] under go test.
const ChildTest = "TestChild"

// Executable returns a path that runs this program. On Linux it works without the program's file,
// which mage bench removes as soon as the program runs.
func Executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}

// InTest reports whether go test built this program.
func InTest() bool { return strings.HasSuffix(os.Args[0], ".test") }

// KillChild starts this program again for the named comparison, with additional variables, and
// kills it (SIGKILL) as soon as ready returns true. It returns an error if the child ends before
// that or is not ready within a minute.
func KillChild(ctx context.Context, comparison string, env []string, ready func() (bool, error)) error {
	self, err := Executable()
	if err != nil {
		return err
	}
	arg := comparison
	if InTest() {
		arg = "-test.run=^" + ChildTest + "$"
	}
	var output strings.Builder
	cmd := exec.CommandContext(ctx, self, arg)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(time.Minute)
	for is := false; !is; {
		select {
		case err := <-ended:
			return fmt.Errorf("the process to be killed has ended: %w: %s", err, FirstWords(output.String()))
		case <-deadline:
			err = errors.New("the process to be killed did not get so far in a minute")
		case <-time.After(10 * time.Millisecond):
			is, err = ready()
		}
		if err != nil {
			return errors.Join(err, cmd.Process.Kill(), <-ended)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	if err := <-ended; err == nil {
		return errors.New("the process ended before it was killed")
	}
	return nil
}
