//go:build mage

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/magefile/mage/mg"
)

// failed is a command's exit status. What was wrong, the command has said.
type failed int

func (f failed) Error() string   { return fmt.Sprintf("exit status %d", int(f)) }
func (f failed) ExitStatus() int { return int(f) }

// run builds and runs a command of one of the modules. go run would hide its exit status.
func run(pkg string, args ...string) error {
	dir, err := os.MkdirTemp("", "mage-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, filepath.Base(pkg))
	if err := command("go", "build", "-o", binary, pkg); err != nil {
		return err
	}
	return command(binary, args...)
}

// runAlone is run for a command in a module of its own outside the workspace, with a folder for a
// path.
func runAlone(dir string, args ...string) error {
	temp, err := os.MkdirTemp("", "mage-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	binary := filepath.Join(temp, filepath.Base(dir))
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	return command(binary, args...)
}

func command(name string, args ...string) error { return commandIn(".", name, args...) }

func commandIn(dir, name string, args ...string) error {
	if mg.Verbose() {
		fmt.Println("+", dir, name, strings.Join(args, " "))
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return failed(max(exit.ExitCode(), 1))
	}
	return err
}

// tool builds one of the tools that tools/go.mod pins and returns its path in the build cache. They
// stay out of the workspace, whose dependencies they would change.
func tool(name string) (string, error) {
	build := exec.Command("go", "tool", "-n", name)
	build.Dir = "tools"
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	out, err := build.Output()
	return strings.TrimSpace(string(out)), err
}

// unformatted fails if gofumpt would change a file: its own exit status does not tell.
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

// inEveryModule calls fn with the folder of each module of the workspace but the root, and returns
// the first error after all.
func inEveryModule(fn func(dir string) error) error {
	var first error
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" || path == "go.mod" || strings.HasPrefix(path, "tools") {
			return err
		}
		fmt.Println("==", filepath.Dir(path))
		if err := fn(filepath.Dir(path)); err != nil && first == nil {
			first = err
		}
		return nil
	})
	return errors.Join(err, first)
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
