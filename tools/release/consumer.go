package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// consumers are programs outside the workspace, one for each module. They share a module cache that
// starts empty.
type consumers struct {
	work      string
	proxy     *proxy
	gorelease string
	env       []string
}

func newConsumers(ctx context.Context, proxy *proxy, work, gorelease string) (*consumers, error) {
	text, err := command(ctx, work, nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return nil, err
	}
	cache, fallback, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return &consumers{work: work, proxy: proxy, gorelease: gorelease, env: []string{
		"GOWORK=off",
		"GOMODCACHE=" + filepath.Join(work, "modules"),
		"GOPROXY=file://" + proxy.dir + ",file://" + filepath.Join(cache, "cache", "download") + "," + fallback,
		"GOPRIVATE=", "GONOPROXY=none", // a private prefix would bypass the proxy
		"GOSUMDB=off", // go.sum has the sums; the sum database does not know unpublished modules
		// With trimpath the build cache does not depend on the path of the module cache, so the
		// second run compiles nothing.
		"GOFLAGS=-mod=mod -trimpath -modcacherw -buildvcs=false",
	}}, nil
}

// project makes a project with m's command pginit, as the README says, and tests it.
func (c *consumers) project(ctx context.Context, m *mod) ([]string, error) {
	dir := filepath.Join(c.work, "project")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	env := append(slices.Clone(c.env), "GOFLAGS=-trimpath -modcacherw -buildvcs=false")
	for _, step := range [][]string{
		{"run", m.path() + "/cmd/pginit@latest", "--minimal"},
		{"tool", "mage", "-l"},
		{"test", "./..."},
	} {
		if _, err := command(ctx, dir, env, "go", step...); err != nil {
			return []string{err.Error()}, ctx.Err()
		}
	}
	return nil, nil
}

// pkg describes a package as go list does.
type pkg struct {
	ImportPath, Name, Doc string
	GoFiles, Deps         []string
	Module                *struct{ Path string }
}

func (p pkg) module() string {
	if p.Module == nil {
		return "" // the standard library
	}
	return p.Module.Path
}

// check builds a consumer of m and returns the problems.
func (c *consumers) check(
	ctx context.Context, m *mod, allowed func(string) ([]string, error), out io.Writer,
) (problems []string, err error) {
	dir := filepath.Join(c.work, "consumers", m.name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	manifest := fmt.Sprintf("module example.com/consumer\n\ngo %s\n\nrequire %s %s\n",
		m.file.Go.Version, m.path(), m.version)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(manifest), 0o644); err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(filepath.Join(m.root, m.dir, "go.sum"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644); err != nil {
		return nil, err
	}
	listed, err := command(ctx, dir, c.env, "go", "list", "-deps", "-json=ImportPath,Name,Doc,GoFiles,Deps,Module",
		m.path()+"/...")
	if err != nil {
		return []string{"cannot be required: " + err.Error()}, ctx.Err()
	}
	packages := map[string]pkg{}
	for decoder := json.NewDecoder(bytes.NewReader(listed)); decoder.More(); {
		var p pkg
		if err := decoder.Decode(&p); err != nil {
			return nil, err
		}
		packages[p.ImportPath] = p
	}
	var libraries, commands []pkg
	program, build := "package main\n\n", []string{"build", "."}
	for _, p := range packages {
		switch {
		case p.module() != m.path() || len(p.GoFiles) == 0: // another module, or only tests
			continue
		case p.Name == "main":
			commands = append(commands, p)
			build = append(build, p.ImportPath)
		default:
			// An internal package counts for the packages that import it.
			if !slices.Contains(strings.Split(p.ImportPath, "/"), "internal") {
				libraries = append(libraries, p)
				program += fmt.Sprintf("import _ %q\n", p.ImportPath)
			}
		}
		if p.Doc == "" {
			problems = append(problems, "package "+p.ImportPath+" has no documentation")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program+"\nfunc main() {}\n"), 0o644); err != nil {
		return nil, err
	}
	if _, err := command(ctx, dir, c.env, "go", build...); err != nil {
		return append(problems, "cannot be used: "+err.Error()), ctx.Err()
	}

	if len(libraries) > 0 {
		problems = append(problems, imports(m, m.name(), libraries, packages, allowed)...)
	}
	for _, p := range commands {
		problems = append(problems, imports(m, m.name()+"-cmd-"+path.Base(p.ImportPath),
			[]pkg{p}, packages, allowed)...)
	}
	if !m.tagged() {
		found, err := c.compare(ctx, m, append(sums, c.proxy.sums...), out)
		problems = append(problems, found...)
		if err != nil {
			return problems, err
		}
	}
	slices.Sort(problems)
	return problems, ctx.Err()
}

// imports compares the modules that packages compile with the list of allowed ones.
func imports(
	m *mod, list string, of []pkg, packages map[string]pkg, allowed func(string) ([]string, error),
) (problems []string) {
	may, err := allowed(list)
	if err != nil {
		return []string{err.Error() + "; bash .ci/modules -update writes it"}
	}
	compiled := map[string]bool{m.path(): true, "": true}
	for _, p := range of {
		for _, dependency := range p.Deps {
			name := packages[dependency].module()
			if !compiled[name] && !slices.Contains(may, name) {
				problems = append(problems, fmt.Sprintf("%s compiles %s, which .ci/imports/%s.txt does not list",
					p.ImportPath, name, list))
			}
			compiled[name] = true
		}
	}
	for _, name := range may {
		if !compiled[name] {
			problems = append(problems, fmt.Sprintf(".ci/imports/%s.txt lists %s, which nothing compiles", list, name))
		}
	}
	return problems
}

// compare runs gorelease on the published module. It adds the sums of its siblings, which are
// replaced in the repository and therefore not in go.sum.
func (c *consumers) compare(ctx context.Context, m *mod, sums []byte, out io.Writer) ([]string, error) {
	dir := filepath.Join(c.work, "gorelease", m.name())
	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return nil, err
	}
	published := filepath.Join(c.proxy.dir, escaped, "@v", m.version+".zip")
	if err := zip.Unzip(dir, module.Version{Path: m.path(), Version: m.version}, published); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644); err != nil {
		return nil, err
	}
	report, err := command(ctx, dir, c.env, c.gorelease, "-base="+m.base(), "-version="+m.version)
	if err != nil {
		return []string{err.Error()}, ctx.Err()
	}
	if m.base() == "none" {
		fmt.Fprintln(out, "no earlier tag: gorelease has no API to compare with")
	} else {
		fmt.Fprintf(out, "%s", report)
	}
	return nil, nil
}
