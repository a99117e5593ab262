// Package tool runs the commands that a module's go.mod names as tools.
package tool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const repository = "github.com/page-builder/persistence/"

// Tool is a command, by its import path.
type Tool string

// The commands that the targets run.
const (
	Migrate Tool = repository + "pgmigrate/cmd/pgmigrate"
	Develop Tool = repository + "pgmigrate/dev/cmd/pgmigrate-dev"
	Server  Tool = repository + "pgtest/pgserver/cmd/pgserver"
	Test    Tool = repository + "pgtest/cmd/pgtest"
	Doctor  Tool = repository + "pgpool/cmd/pgdoctor"
	Studio  Tool = repository + "pgstudio"
)

// ExitError is the exit status of a command that failed and has said why. Mage exits with the same
// status.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// ExitStatus returns the status for Mage to exit with.
func (e ExitError) ExitStatus() int { return int(e) }

// Run runs the command in the current folder.
func (t Tool) Run(args ...string) error {
	binary, err := t.find()
	if err != nil {
		return err
	}
	return Command(binary, args...)
}

// RunOnDatabase is Run for a command that works on a database. If nothing names one, it is the
// development server's.
func (t Tool) RunOnDatabase(args ...string) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	return t.Run(args...)
}

// RunService builds and runs the main package in dir on a database, as RunOnDatabase does. go run
// would hide its exit status.
func RunService(dir string) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "mage-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	binary := filepath.Join(temp, filepath.Base(absolute))
	if err := Command("go", "build", "-o", binary, dir); err != nil {
		return err
	}
	return Command(binary)
}

// Command runs a program in the current folder, with this process's standard streams.
func Command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return ExitError(max(exit.ExitCode(), 1)) // -1 if a signal ended it
	}
	return err
}

// find builds the command and returns its path in the build cache.
func (t Tool) find() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	for _, module := range []struct {
		dir string
		env []string
	}{
		{dir: "."},
		{dir: filepath.Join(root, "tools"), env: []string{"GOWORK=off"}}, // heavy tools keep to themselves
	} {
		if _, err := os.Stat(filepath.Join(module.dir, "go.mod")); err != nil && module.dir != "." {
			continue
		}
		tools, err := goTool(module.dir, module.env)
		if err != nil {
			return "", err
		}
		if slices.Contains(strings.Fields(tools), string(t)) {
			path, err := goTool(module.dir, module.env, "-n", string(t))
			return strings.TrimSpace(path), err
		}
	}
	return "", fmt.Errorf("no tool line in go.mod or tools/go.mod names %[1]s; add one: go get -tool %[2]s",
		t.name(), t)
}

func (t Tool) name() string { return filepath.Base(string(t)) }

// goTool runs go tool in dir. Without arguments it prints the tools.
func goTool(dir string, env []string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"tool"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go tool in %s: %w", dir, err)
	}
	return string(out), nil
}

// moduleRoot returns the folder of the workspace, or of the module if there is no workspace.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOWORK", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	for file := range strings.Lines(string(out)) {
		if file = strings.TrimSpace(file); filepath.IsAbs(file) && file != os.DevNull {
			return filepath.Dir(file), nil
		}
	}
	return "", errors.New("no go.mod here or above")
}
