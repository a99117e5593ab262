// Command mutants reports how many small faults, which gremlins puts into a module's code one after
// the other, make its tests fail.
//
//	mutants -gremlins=PATH MODULE[=GOAL]...
//
// MODULE is a folder with a go.mod, GOAL a percentage. The score is the share of the tried faults
// that a test notices; one that never ends is noticed. gremlins does not try a fault in a statement
// that no test reaches, which mage cover finds, nor in the condition of a case, of which it cannot
// tell. mutants counts those, and lists the faults that no test notices.
//
// The module's tests run once for each fault, so a module with a slow suite takes hours.
//
// The exit status is 0, 1 if a module misses its goal, 2 if the tests fail without a fault or the
// call is wrong.
package main

import (
	"context"
	"encoding/json"
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
	gremlins := flag.String("gremlins", "gremlins", "the program gremlins")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	below, err := run(ctx, *gremlins, flag.Args(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if below > 0 {
		fmt.Fprintf(os.Stderr, "mutants: %d below the goal\n", below)
		os.Exit(1)
	}
}

// run scores the modules one after the other and returns how many miss their goals.
func run(ctx context.Context, gremlins string, modules []string, out io.Writer) (below int, err error) {
	for _, module := range modules {
		dir, text, _ := strings.Cut(module, "=")
		goal := 0.0
		if text != "" {
			if goal, err = strconv.ParseFloat(text, 64); err != nil {
				return below, fmt.Errorf("%s: the goal is a number: %w", module, err)
			}
		}
		result, err := unleash(ctx, gremlins, dir)
		if err != nil {
			return below, fmt.Errorf("%s: %w", dir, err)
		}
		noticed, all, untried, left := result.score()
		verdict := ""
		if float64(noticed)*100 < goal*float64(all) {
			below++
			verdict = "  BELOW"
		}
		share := 100.0
		if all > 0 { // round down, so that 100.0 % means all of them
			share = float64(noticed*1000/all) / 10
		}
		fmt.Fprintf(out, "%-18s %5.1f %%  goal %g %%  %d of %d faults noticed, %d not tried%s\n", dir, share, goal,
			noticed, all, untried, verdict)
		for _, line := range left {
			fmt.Fprintln(out, "    "+line)
		}
	}
	return below, nil
}

// results is what gremlins writes.
type results struct {
	Files []struct {
		Name   string `json:"file_name"`
		Faults []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
			Line   int    `json:"line"`
			Column int    `json:"column"`
		} `json:"mutations"`
	} `json:"files"`
}

// score counts the faults that a test notices, all that were tried and those that were not, and
// describes the ones that no test notices.
func (r results) score() (noticed, all, untried int, left []string) {
	for _, file := range r.Files {
		for _, fault := range file.Faults {
			switch fault.Status {
			case "KILLED", "TIMED OUT":
				noticed++
				all++
			case "LIVED":
				all++
				left = append(left, fmt.Sprintf("%s:%d:%d %s", file.Name, fault.Line, fault.Column,
					strings.ToLower(fault.Type)))
			case "NOT COVERED":
				untried++
			}
		}
	}
	return noticed, all, untried, left
}

// unleash runs gremlins on a copy of the module. gremlins copies the module to a folder of its own,
// where relative replacements lead nowhere, so the copy has absolute ones.
func unleash(ctx context.Context, gremlins, dir string) (results, error) {
	var r results
	temp, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(temp)
	module := filepath.Join(temp, "module")
	if err := os.CopyFS(module, os.DirFS(dir)); err != nil {
		return r, err
	}
	if err := absoluteReplacements(ctx, dir, module); err != nil {
		return r, err
	}
	report := filepath.Join(temp, "report")
	// A fault may make a test wait for its longest deadline, which is not a fault that never ends.
	_, err = command(ctx, module, gremlins, "unleash", "--silent", "--workers=1", "--timeout-coefficient=20",
		"--output="+report, ".")
	if err != nil {
		return r, err
	}
	text, err := os.ReadFile(report)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

func absoluteReplacements(ctx context.Context, dir, module string) error {
	text, err := command(ctx, module, "go", "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var file struct {
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return err
	}
	for _, r := range file.Replace {
		path := r.New.Path
		if !strings.HasPrefix(path, ".") {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		if _, err := command(ctx, module, "go", "mod", "edit", "-replace="+r.Old.Path+"="+abs); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program without the workspace and returns its standard output. The error holds its
// whole output.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // gremlins ends its tests and cleans up
	var out, messages strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(append([]string{name}, args...), " "), err, &out, &messages)
	}
	return out.String(), nil
}
