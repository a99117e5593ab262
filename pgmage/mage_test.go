package pgmage_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const prefix = "github.com/page-builder/persistence/"

// magefile has a target of the team's own in place of pgmage/test's.
const magefile = `//go:build mage

package main

import (
	//mage:import
	_ "github.com/page-builder/persistence/pgmage"
	//mage:import db
	_ "github.com/page-builder/persistence/pgmage/db"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/doctor"
	//mage:import migrate
	_ "github.com/page-builder/persistence/pgmage/migrate"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/seed"
)

// Test is the team's own.
func Test() { println("our own tests") }
`

// project is a module outside the workspace. What is not published yet comes from this repository.
type project struct {
	dir  string
	env  []string
	mage string
}

func newProject(t *testing.T) *project {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "pgmigrate", "go.mod")); err != nil {
		t.Skip("the modules with the commands are not here")
	}
	dir, state := t.TempDir(), t.TempDir()
	for _, d := range []string{state, filepath.Dir(state)} { // root's server runs as another user
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := &project{dir: dir, env: []string{
		"GOWORK=off", "GOFLAGS=-mod=mod", "GONOSUMDB=*", "XDG_STATE_HOME=" + state,
		"MAGEFILE_HASHFAST=1",
		"MAGEFILE_CACHE=" + t.TempDir(), // Mage's own does not tell equal magefiles apart
	}}
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); {
		case strings.HasPrefix(name, "PG"), strings.Contains(name, "DATABASE_"), name == "APP_ENV":
		default:
			p.env = append(p.env, v)
		}
	}
	p.write(t, "go.mod", "module example.com/shop\n\ngo 1.25.5\n")
	for _, m := range []string{
		"pgmage", "pgmigrate", "pgerr", "pgconfig", "pgpool", "pgtx", "pghealth", "pgtest", "pgtest/pgserver",
	} {
		p.mustRun(t, "go", "mod", "edit", "-require="+prefix+m+"@v0.1.0", "-replace="+prefix+m+"="+filepath.Join(root, m))
	}
	p.write(t, "magefile.go", magefile)
	p.mustRun(t, "go", "mod", "edit", "-require=github.com/magefile/mage@v1.17.2", "-tool=github.com/magefile/mage",
		"-tool="+prefix+"pgmigrate/cmd/pgmigrate", "-tool="+prefix+"pgtest/pgserver/cmd/pgserver")
	p.mustRun(t, "go", "list", "-deps", "tool") // adds the sums, from the modules that are in the cache
	p.mage = filepath.Join(t.TempDir(), "mage")
	p.mustRun(t, "go", "build", "-o", p.mage, "github.com/magefile/mage")
	return p
}

func (p *project) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p *project) run(ctx context.Context, name string, args ...string) (out string, status int) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func (p *project) mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, status := p.run(t.Context(), name, args...); status != 0 {
		t.Fatalf("%s %s: exit status %d\n%s", name, strings.Join(args, " "), status, out)
	}
}

// wants checks a target's exit status and a part of its output.
func (p *project) wants(t *testing.T, status int, text string, args ...string) {
	t.Helper()
	out, got := p.run(t.Context(), p.mage, args...)
	if got != status || !strings.Contains(out, text) {
		t.Errorf("mage %s: exit status %d, want %d and %q; output:\n%s", strings.Join(args, " "), got, status, text, out)
	}
}

// TestProject uses the targets with real mage in a module of its own.
func TestProject(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	t.Cleanup(func() {
		if out, status := p.run(context.Background(), p.mage, "db:remove"); status != 0 {
			t.Errorf("db:remove: %s", out)
		}
	})
	p.wants(t, 0, "migrate:status", "-l")
	p.wants(t, 0, "our own tests", "test")
	p.wants(t, 3, "", "db:url")
	p.wants(t, 2, "mage db:start", "migrate")

	if out, status := p.run(t.Context(), p.mage, "db:start"); status != 0 {
		if strings.Contains(out, "no PostgreSQL") {
			t.Skip("no PostgreSQL server here")
		}
		t.Fatalf("db:start: %s", out)
	}
	p.write(t, "migrations/001_orders.sql",
		"create table orders (id bigint primary key);\n---- create above / drop below ----\ndrop table orders;\n")
	p.wants(t, 0, "1 of 1", "migrate")
	p.wants(t, 0, "001", "migrate:status")
	p.wants(t, 0, "002", "migrate:new", "items")
	p.write(t, "migrations/002_items.sql",
		"create table items (id bigint);\n---- create above / drop below ----\ndrop table items;\n")
	p.wants(t, 0, "create table items", "migrate:plan")
	p.wants(t, 0, "2 of 2", "migrate:up")
	p.wants(t, 0, "0 of 2", "migrate:down", "-steps=2")
	p.wants(t, 0, "1 of 2", "migrate:to", "1")
	p.wants(t, 0, "", "migrate:redo")
	p.wants(t, 0, "2 of 2", "migrate:reset")
	p.wants(t, 0, "orders", "migrate:history")
	p.wants(t, 0, "", "migrate:wait")
	p.wants(t, 1, "", "migrate:resolve", "2", "rolled-back")
	p.wants(t, 0, "", "migrate:baseline", "2")
	p.write(t, "seeds/development/orders.sql", "insert into orders values (1);\n")
	p.wants(t, 0, "orders.sql", "seed", "-env=development")

	p.env = append(p.env, "APP_ENV=production")
	p.wants(t, 2, "DATABASE_URL", "migrate") // a forgotten variable stays an error
}

// TestMissingTool names the go get that adds a command, and finds one in a tools module.
func TestMissingTool(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.wants(t, 1, "go get -tool "+prefix+"pgpool/cmd/pgdoctor", "doctor", "-explain")

	p.write(t, "tools/go.mod", "module example.com/shop/tools\n\ngo 1.25.5\n\nrequire (\n"+
		"\t"+prefix+"pgpool v0.1.0\n\t"+prefix+"pgconfig v0.1.0\n\t"+prefix+"pgerr v0.1.0\n)\n")
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"pgpool", "pgconfig", "pgerr", "pgtest/pgserver"} {
		p.mustRun(t, "go", "-C", "tools", "mod", "edit", "-replace="+prefix+m+"="+filepath.Join(root, m))
	}
	p.mustRun(t, "go", "-C", "tools", "mod", "edit", "-tool="+prefix+"pgpool/cmd/pgdoctor")
	p.mustRun(t, "go", "-C", "tools", "list", "-deps", "tool")
	p.wants(t, 0, "DATABASE_STATEMENT_TIMEOUT", "doctor", "-explain")
}
