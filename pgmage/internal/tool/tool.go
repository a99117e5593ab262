// Package tool runs the commands that a module's go.mod names as tools.
package tool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
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

// ServeOnDatabase is RunOnDatabase for a command that ends by a signal only.
func (t Tool) ServeOnDatabase(args ...string) error {
	if err := useDevelopmentServer(); err != nil {
		return err
	}
	binary, err := t.find()
	if err != nil {
		return err
	}
	return serve(binary, args...)
}

// RunService builds and runs the main package in dir on a database, until a signal ends it. go run
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
	return serve(binary)
}

// Command runs a program in the current folder, with this process's standard streams.
func Command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return statusOf(cmd.Run())
}

func statusOf(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return ExitError(max(exit.ExitCode(), 1)) // -1 if a signal ended it
	}
	return err
}

// find builds the command and returns its path in the build cache.
func (t Tool) find() (string, error) {
	folders, err := toolsFolders()
	if err != nil {
		return "", err
	}
	for _, dir := range append([]string{"."}, folders...) {
		var env []string
		if dir != "." {
			env = []string{"GOWORK=off"} // heavy tools keep to themselves
		}
		tools, err := goTool(dir, env)
		if err != nil {
			return "", err
		}
		if slices.Contains(strings.Fields(tools), string(t)) {
			path, err := goTool(dir, env, "-n", string(t))
			return strings.TrimSpace(path), err
		}
	}
	command := "go "
	if len(folders) > 0 && slices.Contains(heavy, t) {
		command = "go -C tools "
	}
	add := command + "get -tool " + string(t)
	if replaced() {
		add = command + "mod edit -tool=" + string(t) + " && " + command + "mod tidy"
	}
	return "", fmt.Errorf("no tool line in go.mod or tools/go.mod names %s; add one: %s", t.name(), add)
}

// heavy are the commands whose requirements are better kept out of the project's.
var heavy = []Tool{Develop, Studio}

// replaced reports whether a replace line leads to a checkout of the modules. go get would ask for
// a version that may not be published.
func replaced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Deps, func(m *debug.Module) bool {
		return m.Path == repository+"pgmage" && m.Replace != nil
	})
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

// toolsFolders returns the folders tools with a go.mod: beside the module's, and beside the
// workspace's if there is one.
func toolsFolders() (folders []string, err error) {
	out, err := exec.Command("go", "env", "GOMOD", "GOWORK").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	found := false
	for file := range strings.Lines(string(out)) {
		if file = strings.TrimSpace(file); !filepath.IsAbs(file) || file == os.DevNull {
			continue
		}
		found = true
		dir := filepath.Join(filepath.Dir(file), "tools")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	if !found {
		return nil, errors.New("no go.mod here or above")
	}
	return folders, nil
}
