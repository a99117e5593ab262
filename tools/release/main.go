// Command release checks that the modules can be tagged. It publishes them to a module proxy in a
// temporary folder, as the tags would, and uses each from outside.
//
//	release [-repository DIR] -gorelease PATH
//
// It checks the current commit, not the working tree. The version of a module is the next one in
// its CHANGELOG.md, or else its last one. For each module it checks that
//
//   - LICENSE, CHANGELOG.md and the documentation of every package are there,
//   - go.mod requires its siblings at the versions to be tagged, and replaces nothing else, because
//     a consumer ignores replace,
//   - a program outside the workspace builds with its packages and commands, on an empty module
//     cache,
//   - they compile only the modules in .ci/imports,
//   - gorelease agrees, with the last tag of the module as the base if there is one.
//
// It also makes a project with pginit@latest and these versions, and runs the project's tests. Then
// it prints the tags to push, in order of dependency. It makes and pushes no tag.
//
// Other modules come from this machine's module cache, then from GOPROXY, and must match go.sum.
//
// The exit status is 0, 1 if a check failed, 2 if the checks could not run.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	repository := flag.String("repository", ".", "folder of the repository")
	gorelease := flag.String("gorelease", "", "path of golang.org/x/exp/cmd/gorelease, built")
	flag.Parse()
	if flag.NArg() > 0 || *gorelease == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, *repository, *gorelease, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(2)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "release: %d problems\n", failed)
		os.Exit(1)
	}
}

// run checks all modules, prints each problem, and returns their number.
func run(ctx context.Context, repository, gorelease string, out io.Writer) (int, error) {
	work, err := os.MkdirTemp("", "release-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)

	repo, err := checkOut(ctx, repository, work)
	if err != nil {
		return 0, err
	}
	if repo.dirty {
		fmt.Fprintln(out, "uncommitted changes are not checked")
	}
	modules, err := repo.modules(ctx)
	if err != nil {
		return 0, err
	}
	proxy := &proxy{dir: filepath.Join(work, "proxy"), repository: repo.dir}
	refused := map[*mod]error{}
	for _, m := range modules {
		refused[m] = proxy.publish(ctx, m)
	}
	consumers, err := newConsumers(ctx, proxy, work, gorelease)
	if err != nil {
		return 0, err
	}
	failed := 0
	for _, m := range modules {
		fmt.Fprintf(out, "== %s %s\n", m.dir, m.version)
		problems := append(m.files(), m.requirements(modules)...)
		if refused[m] != nil {
			problems = append(problems, "cannot be published: "+refused[m].Error())
		} else {
			found, err := consumers.check(ctx, m, repo.readAllowed, out)
			if err != nil {
				return 0, err
			}
			problems = append(problems, found...)
		}
		for _, p := range problems {
			fmt.Fprintf(out, "FAILED: %s: %s\n", m.dir, p)
			failed++
		}
	}
	for _, m := range modules {
		if m.dir != "pgmage" || failed > 0 {
			continue
		}
		fmt.Fprintln(out, "== a project of pginit")
		if err := proxy.announce(modules); err != nil {
			return 0, err
		}
		problems, err := consumers.project(ctx, m)
		if err != nil {
			return 0, err
		}
		for _, p := range problems {
			fmt.Fprintf(out, "FAILED: pginit: %s\n", p)
			failed++
		}
	}
	if failed == 0 {
		printTags(modules, out)
	}
	return failed, nil
}

// printTags prints the commands for the missing tags.
func printTags(modules []*mod, out io.Writer) {
	push := "git push origin"
	for _, m := range modules {
		if m.tagged() {
			continue
		}
		fmt.Fprintf(out, "git tag %s\n", m.tag(m.version))
		push += " " + m.tag(m.version)
	}
	if push == "git push origin" {
		fmt.Fprintln(out, "every version is tagged: a release needs a line \"To be v….\" under Unreleased in a "+
			"CHANGELOG.md")
		return
	}
	fmt.Fprintln(out, push)
}
