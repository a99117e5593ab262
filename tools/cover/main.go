// Command cover reports the share of a module's statements that its tests reach, from any of its
// packages, and the statements that they do not reach.
//
//	cover [-list] MODULE[=GOAL]...
//
// MODULE is a folder with a go.mod, GOAL a percentage. For a module that misses its goal, or for
// every module with -list, cover lists the functions with unreached statements and their lines,
// those with the most first.
//
// It counts all packages of the module except commands (package main) and generated files. A
// process that a test starts from the test binary counts if it has GOCOVERDIR and exits normally. A
// killed process writes no coverage.
//
// The exit status is 0, 1 if a module misses its goal, 2 if a test fails or the call is wrong.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	list := flag.Bool("list", false, "list unreached statements even of modules that reach their goal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	below, err := run(ctx, flag.Args(), *list, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(2)
	}
	if below > 0 {
		fmt.Fprintf(os.Stderr, "cover: %d below the goal\n", below)
		os.Exit(1)
	}
}

// run measures the modules one after the other and returns how many miss their goals.
func run(ctx context.Context, modules []string, list bool, out io.Writer) (below int, err error) {
	for _, module := range modules {
		dir, text, _ := strings.Cut(module, "=")
		goal := 0.0
		if text != "" {
			if goal, err = strconv.ParseFloat(text, 64); err != nil {
				return below, fmt.Errorf("%s: the goal is a number: %w", module, err)
			}
		}
		functions, err := measure(ctx, dir)
		if err != nil {
			return below, fmt.Errorf("%s: %w", dir, err)
		}
		reached, all := 0, 0
		for _, f := range functions {
			reached += f.reached
			all += f.statements
		}
		missed := float64(reached)*100 < goal*float64(all)
		verdict := ""
		if missed {
			below++
			verdict = "  BELOW"
		}
		// Round down, so that 100.0 % means all of them.
		fmt.Fprintf(out, "%-18s %5.1f %%  goal %g %%  %d of %d statements%s\n", dir, share(reached, all),
			goal, reached, all, verdict)
		if missed || list {
			for _, f := range functions {
				fmt.Fprint(out, f)
			}
		}
	}
	return below, nil
}

// share returns a percentage with one decimal, rounded down.
func share(reached, all int) float64 {
	if all == 0 {
		return 100
	}
	return float64(reached*1000/all) / 10
}

// measure runs a module's tests and returns its functions, those with the most unreached statements
// first.
func measure(ctx context.Context, dir string) ([]function, error) {
	const format = `{{if and .GoFiles (ne .Name "main")}}` +
		`{{.Module.Path}}{{"\t"}}{{.Module.Dir}}{{"\t"}}{{.ImportPath}}{{end}}`
	listed, err := command(ctx, dir, "go", "list", "-f", format, "./...")
	if err != nil {
		return nil, err
	}
	var path, folder string
	var packages []string
	for line := range strings.Lines(listed) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		path, folder = fields[0], fields[1]
		packages = append(packages, fields[2])
	}
	if len(packages) == 0 {
		return nil, nil
	}
	data, err := os.MkdirTemp("", "cover-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(data)
	if err := os.Chmod(data, 0o777); err != nil { // root may start a process as another user
		return nil, err
	}
	// Use -exec, because go test gives its tests a GOCOVERDIR that it deletes afterwards.
	_, err = command(ctx, dir, "go", "test", "-count=1", "-cover", "-coverpkg="+strings.Join(packages, ","),
		"-exec", "env GOCOVERDIR="+data, "./...", "-args", "-test.gocoverdir="+data)
	if err != nil {
		return nil, err
	}
	profile := filepath.Join(data, "profile")
	if _, err := command(ctx, dir, "go", "tool", "covdata", "textfmt", "-i="+data, "-o="+profile); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	return readFunctions(string(text), path, folder)
}

// command runs a program and returns its standard output. The error holds its whole output.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(append([]string{name}, args...), " "), err, &out, &messages)
	}
	return out.String(), nil
}
