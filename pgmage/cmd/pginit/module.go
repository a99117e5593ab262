package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const kit = "github.com/page-builder/persistence/"

// The versions of what is not ours. The queries were generated with this sqlc.
const (
	mage = "github.com/magefile/mage"
	sqlc = "github.com/sqlc-dev/sqlc"

	mageVersion = "v1.17.2"
	sqlcVersion = "v1.31.1"
)

// sibling is a module of the checkout that --replace names.
type sibling struct{ path, version, dir string }

// siblings finds the modules of the checkout at dir. Their versions are those that they require of
// each other.
func siblings(dir string) (found []sibling, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	versions := map[string]string{}
	checkout := os.DirFS(dir)
	for _, pattern := range []string{"pg*/go.mod", "pg*/*/go.mod"} {
		manifests, err := fs.Glob(checkout, pattern)
		if err != nil {
			return nil, err
		}
		for _, manifest := range manifests {
			text, err := fs.ReadFile(checkout, manifest)
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
				if len(fields) >= 2 && strings.HasPrefix(fields[0], kit) && strings.HasPrefix(fields[1], "v") {
					versions[fields[0]] = max(versions[fields[0]], fields[1])
				}
			}
			found = append(found, sibling{path: modulePath(text), dir: filepath.Join(dir, filepath.Dir(manifest))})
		}
	}
	found = slices.DeleteFunc(found, func(s sibling) bool { return !strings.HasPrefix(s.path, kit) })
	if !slices.ContainsFunc(found, func(s sibling) bool { return s.path == kit+"pgmage" }) {
		return nil, wrongCall("%s is no checkout of %s: it has no module pgmage", dir, strings.TrimSuffix(kit, "/"))
	}
	for i, s := range found {
		if found[i].version = versions[s.path]; found[i].version == "" {
			found[i].version = "v0.1.0" // no other requires it, and a replaced module has any version
		}
	}
	return found, nil
}

// modulePath returns the path that a go.mod names, or "".
func modulePath(manifest []byte) string {
	for line := range bytes.Lines(manifest) {
		if fields := strings.Fields(string(line)); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], "\"`")
		}
	}
	return ""
}

// moduleAround returns the go.mod that the go command finds above the folder, or "".
func moduleAround(dir string) string {
	for at := filepath.Dir(dir); at != dir; dir, at = at, filepath.Dir(at) {
		if name := filepath.Join(at, "go.mod"); exists(name) {
			return name
		}
	}
	return ""
}

// inWorkspace reports whether the go command finds a go.work for the folder that has the module.
func inWorkspace(ctx context.Context, dir, module string) bool {
	if goEnv(ctx, dir, "GOWORK") == "" {
		return false
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-m")
	cmd.Dir = dir
	out, err := cmd.Output()
	return err == nil && slices.Contains(strings.Fields(string(out)), module)
}

// goEnv returns the path that a variable of the go command holds, or "".
func goEnv(ctx context.Context, dir, name string) string {
	cmd := exec.CommandContext(ctx, "go", "env", name)
	cmd.Dir = dir
	out, err := cmd.Output()
	if path := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(path) {
		return path
	}
	return ""
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// command is a call of the go command.
type command struct {
	dir   string // relative to the module
	args  []string
	first bool // before the files are written: a path that the go command refuses leaves nothing
	alone bool // outside of a workspace
}

func (c command) String() string {
	text := "go "
	if c.dir != "." {
		text += "-C " + c.dir + " "
	}
	shown, replaced := []string{}, 0
	for _, arg := range c.args {
		if strings.HasPrefix(arg, "-replace=") {
			replaced++
			continue
		}
		shown = append(shown, strings.ReplaceAll(arg, kit, "…/"))
	}
	if replaced > 0 {
		shown = append(shown, fmt.Sprintf("-replace=… (%d modules)", replaced))
	}
	return text + strings.Join(shown, " ")
}

// run calls the go command. stdout gets what became newer or older in go.mod.
func (c command) run(ctx context.Context, root string, stdout, stderr io.Writer) error {
	dir := filepath.Join(root, c.dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", c.args...)
	cmd.Dir = dir
	if c.alone {
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	var said bytes.Buffer // what it adds to go.mod line by line, and the reason of a failure
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(stderr, "%s", &said)
		return errors.Join(fmt.Errorf("%s: %w; after a repair, run pginit again", c, err), ctx.Err())
	}
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "go: upgraded ") || strings.HasPrefix(line, "go: downgraded ") {
			fmt.Fprint(stdout, strings.Replace(line, "go:", " ", 1))
		}
	}
	return nil
}

// addCommands decides which modules and tools are added, and how.
func (p *plan) addCommands(minimal bool) {
	modules, tools := []string{kit + "pgmage"}, []string{
		kit + "pgmigrate/cmd/pgmigrate", kit + "pgpool/cmd/pgdoctor", kit + "pgtest/cmd/pgtest",
		kit + "pgtest/pgserver/cmd/pgserver",
	}
	for _, m := range []string{"pgmigrate", "pgpool", "pgtest", "pgtest/pgserver"} { // of the tools
		modules = append(modules, kit+m)
	}
	if slices.Contains(p.groups, "program") {
		for _, m := range []string{"pgconfig", "pgerr", "pghealth", "pgtx"} {
			modules = append(modules, kit+m)
		}
	}
	p.require(".", p.isNew, append(modules, mage+"@"+mageVersion), append(tools, mage))
	if minimal {
		return
	}
	if goFiles, _ := fs.Glob(os.DirFS(p.dir), "tools/*.go"); len(goFiles) > 0 &&
		!exists(filepath.Join(p.dir, "tools", "go.mod")) {
		p.skipped = append(p.skipped, "tools/go.mod: tools is a package; add the heavy tools with go get -tool")
		return
	}
	p.require("tools", !exists(filepath.Join(p.dir, "tools", "go.mod")),
		[]string{kit + "pgmigrate/dev", sqlc + "@" + sqlcVersion},
		[]string{kit + "pgmigrate/dev/cmd/pgmigrate-dev", sqlc + "/cmd/sqlc"})
}

// require adds the commands that make a module require modules and tools.
func (p *plan) require(dir string, isNew bool, modules, tools []string) {
	add := func(first bool, args ...string) {
		p.commands = append(p.commands, command{dir: dir, args: args, first: first, alone: p.alone || dir != "."})
	}
	if isNew {
		module := p.module
		if dir != "." {
			module += "/" + dir
		}
		add(true, "mod", "init", module)
	}
	edit := []string{"mod", "edit"}
	for _, s := range p.replaced {
		edit = append(edit, "-replace="+s.path+"="+s.dir)
	}
	if len(p.replaced) > 0 {
		add(false, edit...)
	}
	get := []string{"get"}
	for _, m := range modules {
		if !strings.Contains(m, "@") {
			m += "@" + p.versionOf(m)
		}
		get = append(get, m)
	}
	add(false, get...)
	edit = []string{"mod", "edit"}
	for _, t := range tools {
		edit = append(edit, "-tool="+t)
	}
	add(false, edit...)
	add(false, "mod", "tidy")
}

func (p *plan) versionOf(module string) string {
	for _, s := range p.replaced {
		if s.path == module {
			return s.version
		}
	}
	return "latest"
}
