package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// unpublished are modules without a version. No other module requires them.
var unpublished = []string{".", "examples/pages"}

// repository is a clone at the commit that was checked out in the original.
type repository struct {
	dir   string
	dirty bool // the original has uncommitted changes
}

func checkOut(ctx context.Context, original, work string) (*repository, error) {
	r := &repository{dir: filepath.Join(work, "repository")}
	status, err := command(ctx, original, nil, "git", "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	r.dirty = len(status) > 0
	_, err = command(ctx, original, nil, "git", "clone", "--quiet", "--shared", ".", r.dir)
	return r, err
}

// modules returns the published modules in order of dependency.
func (r *repository) modules(ctx context.Context) ([]*mod, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "go.work"))
	if err != nil {
		return nil, err
	}
	file, err := modfile.ParseWork("go.work", text, nil)
	if err != nil {
		return nil, err
	}
	var all []*mod
	for _, use := range file.Use {
		dir := filepath.ToSlash(filepath.Clean(use.Path))
		if slices.Contains(unpublished, dir) {
			continue
		}
		m, err := r.module(ctx, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return sortModules(all)
}

// sortModules sorts modules in order of dependency, so that a tag never requires a missing one.
func sortModules(all []*mod) ([]*mod, error) {
	var sorted []*mod
	for len(sorted) < len(all) {
		i := slices.IndexFunc(all, func(m *mod) bool {
			ready := !slices.ContainsFunc(m.siblings(all), func(s *mod) bool { return !slices.Contains(sorted, s) })
			return ready && !slices.Contains(sorted, m)
		})
		if i < 0 {
			return nil, fmt.Errorf("modules require each other in a circle; in order are only %v", sorted)
		}
		sorted = append(sorted, all[i])
	}
	return sorted, nil
}

// readAllowed returns the modules in a list of .ci/imports, for a module or one of its commands.
func (r *repository) readAllowed(list string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, ".ci", "imports", list+".txt"))
	return strings.Fields(string(text)), err
}

// command runs a program and returns its standard output. The error holds its whole output.
func command(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err,
			out.Bytes(), messages.Bytes())
	}
	return out.Bytes(), nil
}
