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

// unpublished are the modules that nobody requires: they have no version.
var unpublished = []string{".", "examples/pages"}

// repository is a clone of its own, at the commit that was checked out in the original.
type repository struct {
	dir   string
	dirty bool // the original has changes that the clone has not
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

// modules returns those that are published, each after those that it requires.
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
	return inOrder(all)
}

// inOrder sorts modules so that a tag never requires one that is not there yet.
func inOrder(all []*mod) ([]*mod, error) {
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

// allowed returns the modules that a list of .ci/imports names, the one of a module or of one of
// its commands.
func (r *repository) allowed(list string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, ".ci", "imports", list+".txt"))
	return strings.Fields(string(text)), err
}

// command runs a program and returns what it writes to its standard output. The error holds all
// that it wrote.
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
