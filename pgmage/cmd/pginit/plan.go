package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

type options struct {
	dir     string
	module  string
	minimal bool
	replace string
	dryRun  bool
}

// plan holds the steps that pginit takes in a folder.
type plan struct {
	dir      string // absolute
	module   string
	isNew    bool // the module does not exist yet
	alone    bool // no workspace has the module
	replaced []sibling
	groups   []string // of files that are written
	files    []file
	skipped  []string // files that are left out, and why
	commands []command
}

// file is one that pginit writes, unless it exists.
type file struct {
	name   string // relative, with slashes
	text   string
	exists bool
}

func newPlan(ctx context.Context, opts options) (*plan, error) {
	dir, err := filepath.Abs(opts.dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, wrongCall("%s is not a folder", dir)
	}
	p := &plan{dir: dir}
	if err := p.chooseModule(opts.module); err != nil {
		return nil, err
	}
	if opts.replace != "" {
		if p.replaced, err = siblings(opts.replace); err != nil {
			return nil, err
		}
	}
	if err := p.addFiles(opts.minimal); err != nil {
		return nil, err
	}
	p.alone = p.isNew || !inWorkspace(ctx, p.dir, p.module)
	p.addCommands(opts.minimal)
	return p, nil
}

// chooseModule takes the path of the module in the folder, or one for a new module.
func (p *plan) chooseModule(wanted string) error {
	manifest, err := os.ReadFile(filepath.Join(p.dir, "go.mod"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.isNew, p.module = true, wanted
		if wanted != "" {
			return nil
		}
		if around := moduleAround(p.dir); around != "" {
			return wrongCall("the folder belongs to the module of %s: run pginit there, or name one with --module",
				around)
		}
		name := filepath.Base(p.dir)
		if !pathElement.MatchString(name) {
			return wrongCall("the folder's name %q cannot end a module's path: name one with --module", name)
		}
		p.module = "example.com/" + name
		return nil
	case err != nil:
		return err
	}
	p.module = modulePath(manifest)
	if p.module == "" {
		return fmt.Errorf("%s names no module", filepath.Join(p.dir, "go.mod"))
	}
	if wanted != "" && wanted != p.module {
		return wrongCall("the module here is %s, not %s", p.module, wanted)
	}
	return nil
}

// pathElement matches a folder's name that the go command takes in a module's path.
var pathElement = regexp.MustCompile(`^[a-zA-Z0-9_-]([a-zA-Z0-9._-]*[a-zA-Z0-9_-])?$`)

// name is the last part of the module's path that is not a major version: what go build calls the
// command.
func (p *plan) name() string {
	name := path.Base(p.module)
	if majorVersion.MatchString(name) {
		name = path.Base(path.Dir(p.module))
	}
	return name
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// serviceName is the name as Kubernetes takes it.
func (p *plan) serviceName() string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(p.name()))
	if name = strings.Trim(name, "-"); name == "" || name[0] <= '9' {
		name = "service-" + name // it begins with a letter
	}
	return strings.Trim(name[:min(len(name), 40)], "-")
}

func (p *plan) print(out io.Writer) {
	what := "the module " + p.module
	if p.isNew {
		what = "the new module " + p.module
	}
	fmt.Fprintf(out, "%s in %s:\n", what, p.dir)
	for _, f := range p.files {
		verb := "write"
		if f.exists {
			verb = "keep "
		}
		fmt.Fprintf(out, "  %s %s\n", verb, f.name)
	}
	for _, n := range p.skipped {
		fmt.Fprintf(out, "  skip  %s\n", n)
	}
	for _, c := range p.commands {
		fmt.Fprintf(out, "  run   %s\n", c)
	}
}

// do writes the files and runs the commands. After a failure, pginit can be run again.
func (p *plan) do(ctx context.Context, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	for _, c := range p.commands {
		if c.first {
			if err := c.run(ctx, p.dir, io.Discard, stderr); err != nil {
				return err
			}
		}
	}
	for _, f := range p.files {
		if err := f.write(p.dir); err != nil {
			return err
		}
	}
	for _, c := range p.commands {
		if !c.first {
			if err := c.run(ctx, p.dir, stdout, stderr); err != nil {
				return err
			}
		}
	}
	fmt.Fprint(stdout, next)
	if p.alone && goEnv(ctx, p.dir, "GOWORK") != "" {
		fmt.Fprintln(stdout, "The folder is inside a workspace. First: go work use .")
	}
	if exists(filepath.Join(p.dir, "vendor", "modules.txt")) {
		fmt.Fprintln(stdout, "The module has a folder vendor. First: go mod vendor")
	}
	return nil
}

const next = `done. Next:
  go tool mage test      # all tests, each on a database of its own
  go tool mage db:start  # a PostgreSQL for development that keeps its data
  go tool mage migrate
  go tool mage run       # the service
  go tool mage -l        # all targets
`

// write makes the file. One that has come meanwhile stays.
func (f file) write(dir string) error {
	if f.exists {
		return nil
	}
	name := filepath.Join(dir, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	made, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = made.WriteString(f.text)
	if err = errors.Join(err, made.Close()); err != nil { // half a file would be kept by the next call
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
