package guides_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// goOfProject is the go command of a reader whose modules come from a checkout: docs/unpublished.md
// says which version to ask for. The container of docs/testing.md is the tests' own server.
const goOfProject = `#!/usr/bin/env bash
[ -z "${PGTEST_URL-}" ] || export PGTEST_URL=$GUIDES_SERVER
if [ "$1 ${2-}" = "get -tool" ]; then # go get would ask a proxy for the package as a module
	exec "$GUIDES_GO" mod edit -tool="$3"
fi
words=()
for word in "$@"; do
	case $1:$word in
	run:github.com/page-builder/*@latest) word=${word%@latest} ;;
	get:github.com/page-builder/*) word=${word%@*}@v0.1.0 ;;
	esac
	words+=("$word")
done
exec "$GUIDES_GO" "${words[@]}"
`

// ofPgmage are the guides whose targets pgmage's TestProject runs: they start servers.
var ofPgmage = []string{"docs/first-service.md", "docs/commands.md"}

// A guide's commands run in a project that pginit made, outside of this repository, by the real go
// command.
func TestCommandsInAProject(t *testing.T) {
	t.Parallel()
	project, env := newProject(t)
	for _, g := range guides(t) {
		if g.ofRepository() || slices.Contains(ofPgmage, g.name) || len(g.of("console")) == 0 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(project)); err != nil {
				t.Fatal(err)
			}
			env := append(slices.Clone(env), "DATABASE_URL="+readersDatabase(t, g, dir, env))
			for _, b := range g.of("console") {
				run(t, b, dir, env)
			}
		})
	}
}

// newProject has pginit make a project. It returns its folder, and an environment in which a
// guide's commands find what they call.
func newProject(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir, bin := filepath.Join(t.TempDir(), "app"), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./cmd/pginit")
	build.Dir = filepath.Join(root, "pgmage")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	realGo, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range standIns {
		if name != "go" {
			err = os.Symlink(self, filepath.Join(bin, name))
		} else {
			err = os.WriteFile(filepath.Join(bin, name), []byte(goOfProject), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "PG") && !strings.Contains(name, "DATABASE_") && name != "APP_ENV" && name != "PATH" {
			env = append(env, v)
		}
	}
	env = append(env, "PATH="+bin+":"+os.Getenv("PATH"), "GUIDES_GO="+realGo, "GUIDES_SERVER="+pgserver.Database(t),
		"GOWORK=off", "GOFLAGS=", "GONOSUMDB=*")
	made := exec.CommandContext(t.Context(), filepath.Join(bin, "pginit"), "--replace", absolute(), dir)
	made.Env = env
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir, env
}

// readersDatabase returns the address of a reader's database. A guide with migrations continues the
// example's migrations, or another tool's. The other guides use the project that pginit wrote.
func readersDatabase(t *testing.T, g guide, dir string, env []string) (url string) {
	t.Helper()
	_, err := os.Stat("testdata/" + strings.TrimSuffix(filepath.Base(g.name), ".md"))
	continues := slices.ContainsFunc(g.of("sql"), func(b block) bool {
		return migrationName.MatchString(b.text) || backfillName.MatchString(b.text)
	})
	if err == nil || continues {
		for _, folder := range []string{"migrations", "seeds"} {
			if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
				t.Fatal(err)
			}
		}
		return begin(t, g, dir)
	}
	url = pgserver.Database(t)
	up := exec.CommandContext(t.Context(), "go", "tool", "pgmigrate", "up")
	up.Dir, up.Env = dir, append(slices.Clone(env), "DATABASE_URL="+url)
	if out, err := up.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return url
}
