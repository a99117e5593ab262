package pgmage_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const prefix = "github.com/page-builder/persistence/"

// ownMagefile has a target of the team's own in place of pgmage/test's.
const ownMagefile = `//go:build mage

package main

import (
	//mage:import
	_ "github.com/page-builder/persistence/pgmage"
	//mage:import
	_ "github.com/page-builder/persistence/pgmage/doctor"
)

// Test is the team's own.
func Test() { println("our own tests") }
`

// project is a module outside the workspace that pginit made. What is not published yet comes from
// this repository.
type project struct {
	dir  string
	env  []string
	mage string
	said string          // what pginit printed
	ran  map[string]bool // the targets with their arguments
}

// newProject runs pginit in a folder that has the files.
func newProject(t *testing.T, files map[string]string, flags ...string) *project {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "pgmigrate", "go.mod")); err != nil {
		t.Skip("the modules with the commands are not here")
	}
	state := t.TempDir()
	for _, d := range []string{state, filepath.Dir(state)} { // root's server runs as another user
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := &project{dir: filepath.Join(t.TempDir(), "shop"), ran: map[string]bool{}, env: []string{
		"GOWORK=", "GOFLAGS=", "GONOSUMDB=*", "XDG_STATE_HOME=" + state,
		"MAGEFILE_CACHE=" + t.TempDir(), // Mage's own does not tell equal magefiles apart
	}}
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); {
		case strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "PGTEST_"):
		case strings.Contains(name, "DATABASE_"), name == "APP_ENV", name == "GOFLAGS", name == "GOWORK":
		default:
			p.env = append(p.env, v)
		}
	}
	for name, text := range files {
		p.write(t, name, text)
	}
	pginit := filepath.Join(t.TempDir(), "pginit")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", pginit, "./cmd/pginit")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pginit: %s", out)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.said = p.mustRun(t, pginit, append(flags, "--replace="+root)...)
	p.mage = filepath.Join(t.TempDir(), "mage")
	p.mustRun(t, "env", "GOWORK=off", "go", "build", "-o", p.mage, "github.com/magefile/mage")
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

func (p *project) mustRun(t *testing.T, name string, args ...string) (out string) {
	t.Helper()
	out, status := p.run(t.Context(), name, args...)
	if status != 0 {
		t.Fatalf("%s %s: exit status %d\n%s", name, strings.Join(args, " "), status, out)
	}
	return out
}

// wants checks a target's exit status and a part of its output.
func (p *project) wants(t *testing.T, status int, text string, args ...string) {
	t.Helper()
	out, got := p.run(t.Context(), p.mage, args...)
	p.ran[strings.Join(args, " ")] = true
	if got != status || !strings.Contains(out, text) {
		t.Errorf("mage %s: exit status %d, want %d and %q; output:\n%s", strings.Join(args, " "), got, status, text, out)
	}
}

// TestProject uses a project of pginit as a developer would, with real mage.
func TestProject(t *testing.T) {
	t.Parallel()
	p := newProject(t, nil)
	t.Cleanup(func() {
		if out, status := p.run(context.Background(), p.mage, "db:remove"); status != 0 {
			t.Errorf("db:remove: %s", out)
		}
	})
	if out, _ := p.run(t.Context(), "gofmt", "-l", "."); out != "" {
		t.Errorf("gofmt would change %s", out)
	}
	p.mustRun(t, "go", "vet", "./...")
	p.mustRun(t, "go", "mod", "tidy", "-diff")
	p.wants(t, 0, "migrate:status", "-l")
	p.wants(t, 3, "", "db:url")
	p.wants(t, 2, "mage db:start", "migrate")

	if out, status := p.run(t.Context(), p.mage, "db:start"); status != 0 {
		if strings.Contains(out, "no PostgreSQL") {
			t.Skip("no PostgreSQL server here")
		}
		t.Fatalf("db:start: %s", out)
	}
	p.wants(t, 0, "example.com/shop/migrations", "test")
	p.wants(t, 0, "1 of 1", "migrate")
	p.wants(t, 0, "001", "migrate:status")
	p.wants(t, 0, "notes.sql", "seed", "-env=development")
	p.wants(t, 0, "no problems", "doctor")
	p.wants(t, 1, "go -C tools mod edit -tool="+prefix+"pgstudio", "studio") // heavy, and not added by pginit
	p.serves(t)
	p.wants(t, 0, "002", "migrate:new", "items")
	p.write(t, "migrations/002_items.sql",
		"create table items (id bigint);\n---- create above / drop below ----\ndrop table items;\n")
	p.wants(t, 0, "create table items", "migrate:plan")
	p.wants(t, 0, "2 of 2", "migrate:up")
	p.wants(t, 0, "0 of 2", "migrate:down", "-steps=2")
	p.wants(t, 0, "1 of 2", "migrate:to", "1")
	p.wants(t, 0, "", "migrate:redo")
	p.wants(t, 0, "2 of 2", "migrate:reset")
	p.wants(t, 2, "no key for a backfill", "migrate:new", "wider", "-expand=type", "-table=items", "-column=id", "-type=numeric")
	p.wants(t, 0, "notes", "migrate:history")
	p.wants(t, 0, "", "migrate:wait")
	p.wants(t, 1, "", "migrate:resolve", "2", "rolled-back")
	p.wants(t, 0, "", "migrate:baseline", "2")
	p.write(t, "backfills/notes.sql",
		"-- pgmigrate:backfill table=public.notes key=id\nupdate notes set id = id where id between $1 and $2;\n")
	p.wants(t, 0, "notes is done", "migrate:backfill", "-workers=2")
	p.wants(t, 0, "notes  done", "migrate:backfill", "-status")
	p.wants(t, 0, "", "db:clean")
	p.write(t, "flyway/V1__orders.sql", "create table orders (id bigint);\n")
	p.wants(t, 0, "001_orders.sql from V1__orders.sql", "migrate:import", "flyway", "imported")
	if os.Getenv("PGMAGE_LONG") != "" { // builds sqlc, which takes minutes
		p.usesHeavyTools(t)
	}

	p.checkTutorial(t)
	p.env = append(p.env, "APP_ENV=production")
	p.wants(t, 2, "DATABASE_URL", "migrate") // a forgotten variable stays an error
}

// serves runs the service, asks it, and ends it: with Ctrl-C, and with a signal to Mage alone.
func (p *project) serves(t *testing.T) {
	t.Helper()
	var lc net.ListenConfig
	free, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	text, err := os.ReadFile(filepath.Join(p.dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "main.go", strings.ReplaceAll(string(text), "127.0.0.1:8080", address))

	mage, out, ended := p.startService(t, address)
	answer, err := http.Post("http://"+address+"/notes", "application/json", strings.NewReader(`{"body": "buy milk"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("POST /notes: %s", answer.Status)
	}
	if err := syscall.Kill(-mage, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v\n%s", err, out)
	}

	mage, out, ended = p.startService(t, address)
	if err := syscall.Kill(mage, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-ended // its output has ended, so the service has
	if answer, err := http.Get("http://" + address + "/readyz"); err == nil {
		answer.Body.Close()
		t.Errorf("the service outlives Mage:\n%s", out)
	}
	p.write(t, "main.go", string(text))
}

// startService runs the service in a process group, as a terminal does, until it is ready. ended
// tells how Mage ended, once nothing writes its output any more.
func (p *project) startService(t *testing.T, address string) (mage int, out *bytes.Buffer, ended chan error) {
	t.Helper()
	out = &bytes.Buffer{}
	cmd := exec.CommandContext(t.Context(), p.mage, "run")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		answer, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return cmd.Process.Pid, out, ended
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("run: %v\n%s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// checkTutorial wants each command of the tutorial to be one that was run above.
func (p *project) checkTutorial(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../docs/first-service.md")
	if err != nil {
		t.Skip("the tutorial is not here")
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		target, ok := strings.CutPrefix(strings.TrimSpace(line), "$ go tool mage ")
		if !ok {
			continue
		}
		seen++
		if target != "run" && target != "db:start" && !p.ran[target] { // these two are run otherwise
			t.Errorf("the tutorial runs %q, and this test does not", target)
		}
	}
	if seen < 10 {
		t.Errorf("only %d commands found in the tutorial", seen)
	}
}

// usesHeavyTools runs the targets whose commands are tools of tools/go.mod.
func (p *project) usesHeavyTools(t *testing.T) {
	t.Helper()
	p.wants(t, 0, "0 errors", "migrate:lint")
	p.wants(t, 1, "may be stale", "generateCheck") // there is a migration more
	p.wants(t, 0, "", "generate")
	p.wants(t, 0, "", "generateCheck")
	p.mustRun(t, "go", "vet", "./...")
	p.wants(t, 0, "schema.sql", "migrate:pull")
	schema, err := os.ReadFile(filepath.Join(p.dir, "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "schema.sql", string(schema)+"\ncreate table public.tags (id bigint primary key);\n")
	p.wants(t, 0, "003", "migrate:diff", "tags")
	p.wants(t, 0, "3 of 3", "migrate")
	p.wants(t, 0, "", "migrate:drift")
}

// TestMissingTool names the go get that adds a command, and finds one in a tools module. The
// project has a magefile of its own, and a workspace around it that does not have it yet.
func TestMissingTool(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{
		"magefile.go": ownMagefile, "go.mod": "module example.com/shop\n\ngo 1.25.0\n",
		"../go.work": "go 1.25.0\n\nuse ./other\n", "../other/go.mod": "module example.com/other\n\ngo 1.25.0\n",
	}, "--minimal")
	if !strings.Contains(p.said, "First: go work use .") {
		t.Errorf("pginit says nothing of the workspace:\n%s", p.said)
	}
	p.mustRun(t, "go", "work", "use", ".")
	p.wants(t, 0, "our own tests", "test")
	p.mustRun(t, "go", "mod", "edit", "-droptool="+prefix+"pgpool/cmd/pgdoctor")
	add := "go mod edit -tool=" + prefix + "pgpool/cmd/pgdoctor && go mod tidy"
	p.wants(t, 1, add, "doctor", "-explain")
	p.mustRun(t, "sh", "-c", add)
	p.wants(t, 0, "DATABASE_URL", "doctor", "-explain")
	p.mustRun(t, "go", "mod", "edit", "-droptool="+prefix+"pgpool/cmd/pgdoctor")

	manifest, err := os.ReadFile(filepath.Join(p.dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(p.dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "tools/go.mod", strings.Replace(string(manifest), "example.com/shop", "example.com/shop/tools", 1))
	p.write(t, "tools/go.sum", string(sums))
	p.mustRun(t, "go", "-C", "tools", "mod", "edit", "-tool="+prefix+"pgpool/cmd/pgdoctor")
	p.wants(t, 0, "DATABASE_STATEMENT_TIMEOUT", "doctor", "-explain")
}
