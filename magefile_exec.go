//go:build mage

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/magefile/mage/mg"
)

// failed is a command's exit status. The command has already printed what was wrong.
type failed int

func (f failed) Error() string   { return fmt.Sprintf("exit status %d", int(f)) }
func (f failed) ExitStatus() int { return int(f) }

// run builds and runs a command of one of the workspace's modules. go run would hide its exit
// status.
func run(pkg string, args ...string) error {
	return buildAndRun(exec.Command("go", "build"), pkg, args)
}

// runAlone builds and runs a command of the module in dir, which is outside the workspace.
func runAlone(dir, pkg string, args ...string) error {
	build := exec.Command("go", "build")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	return buildAndRun(build, pkg, args)
}

func buildAndRun(build *exec.Cmd, pkg string, args []string) error {
	temp, err := os.MkdirTemp("", "mage-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	binary := filepath.Join(temp, filepath.Base(root(filepath.Join(build.Dir, pkg))))
	build.Args = append(build.Args, "-o", binary, pkg)
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	// Once the command runs, a kill leaves nothing behind.
	return runCommand(".", exec.Command(binary, args...), func() { os.RemoveAll(temp) })
}

func command(name string, args ...string) error { return commandIn(".", name, args...) }

func commandIn(dir, name string, args ...string) error {
	return runCommand(dir, exec.Command(name, args...))
}

// outsideWorkspace runs a command in a module that go.work does not name.
func outsideWorkspace(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return runCommand(dir, cmd)
}

func runCommand(dir string, cmd *exec.Cmd, started ...func()) error {
	if mg.Verbose() {
		fmt.Println("+", dir, strings.Join(cmd.Args, " "))
	}
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Start()
	if err == nil {
		for _, fn := range started {
			fn()
		}
		err = wait(cmd)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return failed(max(exit.ExitCode(), 1))
	}
	return err
}

// wait waits for a command, and ends it with this process. mage does not pass SIGTERM on, so wait
// also watches for the end of mage.
func wait(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	mage, look := os.Getppid(), time.NewTicker(time.Second)
	defer look.Stop()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case <-signals:
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-look.C:
			if os.Getppid() != mage {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				look.Stop() // the command may take a while to clean up
			}
		}
	}
}

// tool builds one of the tools that tools/go.mod pins and returns its path in the build cache. The
// tools stay out of the workspace, because they would change its dependencies.
func tool(name string) (string, error) {
	build := exec.Command("go", "tool", "-n", name)
	build.Dir = "tools"
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	out, err := build.Output()
	return strings.TrimSpace(string(out)), err
}

// unformatted fails if gofumpt would change a file. gofumpt's exit status does not show that.
func unformatted() error {
	gofumpt, err := tool("gofumpt")
	if err != nil {
		return err
	}
	out, err := exec.Command(gofumpt, "-l", ".").Output()
	if err != nil {
		return err
	}
	if len(out) > 0 {
		return fmt.Errorf("not formatted; run %s -w on:\n%s", gofumpt, out)
	}
	return nil
}

// inWorkspace calls fn with the folder of each module in go.work except the root, and returns all
// errors.
func inWorkspace(fn func(dir string) error) error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("list the workspace's modules: %w", err)
	}
	var failed []error
	for dir := range strings.Lines(string(out)) {
		dir, err := filepath.Rel(root("."), strings.TrimSpace(dir))
		if err != nil {
			return err
		}
		if dir != "." {
			fmt.Println("==", dir)
			failed = append(failed, fn(dir))
		}
	}
	return errors.Join(failed...)
}

// inModules calls fn with the folder of each go.mod that the pattern matches, and returns all
// errors.
func inModules(pattern string, fn func(dir string) error) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	var failed []error
	for _, file := range files {
		fmt.Println("==", filepath.Dir(file))
		failed = append(failed, fn(filepath.Dir(file)))
	}
	return errors.Join(failed...)
}

// testArgs returns the arguments of go test, with the race detector if it can be built. Tests
// mostly wait for a server rather than the processor, so four packages run at a time on two
// processors.
func testArgs() []string {
	args := []string{"test", fmt.Sprintf("-p=%d", max(4, runtime.NumCPU()))}
	if !raceDetector() {
		fmt.Println("no C compiler: testing without the race detector")
		return args
	}
	return append(args, "-race")
}

func raceDetector() bool {
	if os.Getenv("CGO_ENABLED") == "0" {
		return false
	}
	for _, compiler := range []string{"gcc", "clang", "cc"} {
		if _, err := exec.LookPath(compiler); err == nil {
			return true
		}
	}
	return false
}

func root(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}
