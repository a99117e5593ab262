package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// TestOutside follows the README in a module outside the workspace: the command as a tool, and as a
// target of mage. It compiles everything anew, so it runs when PGMIGRATE_OUTSIDE is set. What is
// not published yet comes from beside this module.
func TestOutside(t *testing.T) {
	if os.Getenv("PGMIGRATE_OUTSIDE") == "" {
		t.Skip("set PGMIGRATE_OUTSIDE=1 to compile a module of its own")
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, magefile, _ := strings.Cut(string(readme), "```go\n//go:build mage\n")
	magefile, _, ok := strings.Cut(magefile, "```")
	if !ok {
		t.Fatal("README.md has no magefile")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, url := t.TempDir(), pgserver.Database(t)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		// Nothing from the network: the modules are in the cache, where the workspace's go.sum
		// files vouched for them.
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off",
			"GONOSUMDB=*", "DATABASE_URL="+url)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	const prefix = "github.com/page-builder/persistence/"
	run("mod", "init", "example.com/outside")
	for _, module := range []string{"pgmigrate", "pgerr", "pgconfig", "pgtest/pgserver"} {
		run("mod", "edit", "-require="+prefix+module+"@v0.1.0",
			"-replace="+prefix+module+"="+filepath.Join(root, module))
	}
	run("get", "-tool", prefix+"pgmigrate/cmd/pgmigrate")
	mage := mageVersion(t, filepath.Join(root, "go.mod"))
	run("get", "-tool", "github.com/magefile/mage@"+mage)
	write("migrations/001_pages.sql",
		"create table pages (id int);\n---- create above / drop below ----\ndrop table pages;\n")
	write("magefile.go", "//go:build mage\n"+magefile)

	if out := run("tool", "pgmigrate", "status"); !strings.Contains(out, "version 0 of 1") {
		t.Errorf("status: %s", out)
	}
	if out := run("tool", "mage", "migrate"); !strings.Contains(out, "version 1 of 1: 1 migration") {
		t.Errorf("mage migrate: %s", out)
	}
	if out := run("tool", "pgmigrate", "up"); !strings.Contains(out, "nothing to do") {
		t.Errorf("up: %s", out)
	}
}

// mageVersion is the one that is in the module cache.
func mageVersion(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Skip("the workspace is not there")
	}
	_, rest, _ := strings.Cut(string(text), "github.com/magefile/mage v")
	version, _, _ := strings.Cut(rest, "\n")
	version, _, _ = strings.Cut(version, " ")
	return "v" + version
}
