package guides_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// The commands of this repository run for real. For missing or slow commands this binary stands in
// under their name: it checks the arguments and does nothing.
func TestMain(m *testing.M) {
	if check, ok := standIns[filepath.Base(os.Args[0])]; ok {
		if err := check(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var standIns = map[string]func(args []string) error{
	"go":     goCommand,
	"docker": oneOf("compose up -d --wait", "compose down"),
	"kubectl": oneOf("create secret generic app-database", "apply -f", "wait --for=condition=complete", "logs job/",
		"rollout status deployment/"),
	"npx":   oneOf("prisma migrate status", "prisma db pull"),
	"goose": oneOf("status"),
}

func oneOf(commands ...string) func([]string) error {
	return func(args []string) error {
		for _, c := range commands {
			if strings.HasPrefix(strings.Join(args, " "), c) {
				return nil
			}
		}
		return fmt.Errorf("not a command that the tests know: %q", args)
	}
}

// goCommand: `go tool mage` names a target, `go tool pgmigrate` and `go run …/pgdoctor@latest` run,
// `go get` names a package.
func goCommand(args []string) error {
	call := strings.Join(args, " ")
	switch {
	case strings.HasPrefix(call, "tool mage "):
		all, err := targets(os.Getenv("GUIDES_ROOT"), os.Getenv("GUIDES_MAGEFILE"))
		if err != nil {
			return err
		}
		return mage(all, args[2:])
	case strings.HasPrefix(call, "tool pgmigrate "), strings.HasPrefix(call, "tool pgdoctor "):
		return through(args[1], args[2:])
	case strings.HasPrefix(call, "run "+ours):
		path, _, _ := strings.Cut(strings.TrimPrefix(args[1], ours), "@")
		if name := filepath.Base(path); name == "pgdoctor" {
			return through(name, args[2:])
		}
		return inRepository(path)
	case strings.HasPrefix(call, "get -tool "+ours), strings.HasPrefix(call, "get "+ours):
		return inRepository(strings.TrimPrefix(args[len(args)-1], ours))
	}
	return oneOf("test ./...", "test -race ./...")(args)
}

func inRepository(path string) error {
	files, err := filepath.Glob(filepath.Join(os.Getenv("GUIDES_ROOT"), path, "*.go"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no package %s%s", ours, path)
	}
	return nil
}

func through(name string, args []string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// ownPath matches an argument that is a path of this repository.
var ownPath = regexp.MustCompile(`(?m)[ =](?:\./|\.\./)*(?:examples|lab|tools|docs|\.ci|pg[a-z]+)/\S*`)

var continued = regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)$`)

// A guide's commands run one after another, in a folder with the example's migrations, on their own
// database. Each line of output in a block must appear in the real output; … stands for anything.
func TestCommands(t *testing.T) {
	t.Parallel()
	bin := commands(t)
	t.Run("prose", func(t *testing.T) { inProse(t, bin) })
	for _, g := range guides(t) {
		if len(g.of("console")) == 0 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			url := begin(t, g, dir)
			if err := os.WriteFile(dir+"/go.mod", []byte("module app\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			env := []string{
				"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "GUIDES_ROOT=" + absolute(),
				"DATABASE_URL=" + url, "GORACE=atexit_sleep_ms=0", "GUIDES_MAGEFILE=" + g.magefile(),
			}
			for _, b := range g.of("console") {
				if found := ownPath.FindString(b.text); found != "" && !g.ofRepository() {
					t.Errorf("%s: only this repository has %s", b, found)
				}
				run(t, b, dir, env)
			}
		})
	}
}

// begin fills the folder with the files of the guide's reader, and returns the address of the
// reader's database. That is a migrated one with the example's files, or an empty one with the
// files of another tool, from testdata.
func begin(t *testing.T, g guide, dir string) (url string) {
	t.Helper()
	theirs := "testdata/" + strings.TrimSuffix(filepath.Base(g.name), ".md")
	if _, err := os.Stat(theirs); err == nil {
		if err := os.CopyFS(dir, os.DirFS(theirs)); err != nil {
			t.Fatal(err)
		}
		return pgserver.Database(t)
	}
	for _, folder := range []string{"migrations", "seeds"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join(absolute(), folder))); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range g.of("sql") {
		if name := backfillName.FindStringSubmatch(b.text); name != nil {
			write(t, filepath.Join(dir, "backfills", name[1]), b.text)
		}
	}
	return pgtest.URL(t)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, b block, dir string, env []string) {
	t.Helper()
	var script strings.Builder
	for _, c := range continued.FindAllStringSubmatch(b.text, -1) {
		script.WriteString(c[1] + "\n")
	}
	if script.Len() == 0 {
		t.Errorf("%s: no command", b)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s%s", b, err, script.String(), out)
	}
	for line := range strings.Lines(continued.ReplaceAllString(b.text, "")) {
		if line = strings.TrimSpace(line); !toPattern(line).Match(out) {
			t.Errorf("%s: the output has no line like %q:\n%s", b, line, out)
		}
	}
}

// The tests do not run a shell block for another machine or the reader's project, but they check
// its syntax.
func TestShell(t *testing.T) {
	t.Parallel()
	for _, g := range guides(t) {
		for _, b := range g.of("sh") {
			cmd := exec.CommandContext(t.Context(), "bash", "-n")
			cmd.Stdin = strings.NewReader(b.text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b, err, out)
			}
		}
	}
}

// toPattern returns an expression for a text in which … stands for anything.
func toPattern(text string) *regexp.Regexp {
	return regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*"))
}

// commands makes a folder with the programs that guides call.
func commands(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for module, path := range map[string]string{
		"pgmigrate": "./cmd/pgmigrate", "pgpool": "./cmd/pgdoctor", "pgmage": "./cmd/pginit",
	} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", path)
		build.Dir = filepath.Join(root, module)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range standIns {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}
