package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// gorelease is the path of the command, which tools/go.mod pins.
var gorelease string

func TestMain(m *testing.M) {
	cmd := exec.Command("go", "tool", "-n", "gorelease")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build gorelease:", err)
		os.Exit(1)
	}
	gorelease = strings.TrimSpace(string(path))
	os.Setenv("GOPROXY", "off") // the required modules are not published
	os.Exit(m.Run())
}

// kit is a repository of two minimal modules without problems.
var kit = map[string]string{
	"go.mod":  "module example.com/kit\n\ngo 1.25.0\n",
	"go.work": "go 1.25.0\n\nuse (\n\t.\n\t./stem\n\t./stem/leaf\n)\n",

	"lab/bench/go.mod": "module example.com/kit/lab/bench\n\ngo 1.25.0\n",

	"stem/leaf/go.mod":       "module example.com/kit/stem/leaf\n\ngo 1.25.0\n",
	"stem/leaf/leaf.go":      "// Package leaf is required.\npackage leaf\n\n// Old is exported.\nfunc Old() {}\n",
	"stem/leaf/LICENSE":      "MIT\n",
	"stem/leaf/README.md":    "# leaf\n",
	"stem/leaf/CHANGELOG.md": "# Changelog\n\n## Unreleased\n\nTo be v0.1.0.\n",

	"stem/go.mod": "module example.com/kit/stem\n\ngo 1.25.0\n\nrequire example.com/kit/stem/leaf v0.1.0\n\n" +
		"replace example.com/kit/stem/leaf => ./leaf\n",
	"stem/stem.go": "// Package stem requires leaf.\npackage stem\n\nimport _ " +
		"\"example.com/kit/stem/leaf\"\n",
	"stem/internal/sap/sap.go": "// Package sap cannot be imported.\npackage sap\n",
	"stem/cmd/grow/main.go":    "// Command grow does nothing.\npackage main\n\nfunc main() {}\n",
	"stem/LICENSE":             "MIT\n",
	"stem/README.md":           "# stem\n",
	"stem/CHANGELOG.md":        "# Changelog\n\n## Unreleased\n\nTo be v0.1.0.\n",

	".ci/imports/stem.txt":          "example.com/kit/stem/leaf\n",
	".ci/imports/stem-cmd-grow.txt": "",
	".ci/imports/stem-leaf.txt":     "",
}

const absent = "\x00" // instead of a file's content

const inOrderOfRequirements = "git tag stem/leaf/v0.1.0\ngit tag stem/v0.1.0\ngit push origin stem/leaf/v0.1.0 " +
	"stem/v0.1.0\n"

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change map[string]string // new contents of files
		want   []string          // FAILED lines, as patterns; none: it passes
	}{
		"nothing wrong": {},
		"requires a version that will not be tagged": {
			change: map[string]string{"stem/go.mod": strings.Replace(kit["stem/go.mod"], "v0.1.0", "v0.2.0", 1)},
			want: []string{
				`stem: go.mod requires example.com/kit/stem/leaf v0.2.0: it is v0.1.0`,
				`stem: cannot be required: go list `,
			},
		},
		"requires what is never published": {
			change: map[string]string{
				"stem/leaf/go.mod": kit["stem/leaf/go.mod"] + "\nrequire example.com/kit/lab/bench v0.1.0\n",
			},
			want: []string{
				`stem/leaf: go.mod requires example.com/kit/lab/bench v0.1.0: it is never published`,
				`stem/leaf: gorelease `,
				`stem: gorelease `,
			},
		},
		"no license": {change: map[string]string{"stem/LICENSE": absent}, want: []string{`stem: has no LICENSE`}},
		"no changelog": {
			change: map[string]string{"stem/CHANGELOG.md": absent}, want: []string{`stem: has no CHANGELOG.md`},
		},
		"an import that is not on the list": {
			change: map[string]string{".ci/imports/stem.txt": ""},
			want: []string{
				`stem: example.com/kit/stem compiles example.com/kit/stem/leaf, which ` +
					`.ci/imports/stem.txt does not list`,
			},
		},
		"a line of the list that is not imported": {
			change: map[string]string{".ci/imports/stem-cmd-grow.txt": "example.com/kit/stem/leaf\n"},
			want: []string{
				`stem: .ci/imports/stem-cmd-grow.txt lists example.com/kit/stem/leaf, which nothing compiles`,
			},
		},
		"no list": {
			change: map[string]string{".ci/imports/stem-leaf.txt": absent},
			want:   []string{`stem/leaf: open .*stem-leaf.txt: no such file.*-update writes it`},
		},
		"no package documentation": {
			change: map[string]string{"stem/internal/sap/sap.go": "package sap\n"},
			want:   []string{`stem: package example.com/kit/stem/internal/sap has no documentation`},
		},
		"works through replace only": {
			change: map[string]string{
				"stem/leaf/go.mod": kit["stem/leaf/go.mod"] + "\nreplace example.com/elsewhere => ../../lab/bench\n",
			},
			want: []string{`stem/leaf: go.mod replaces example.com/elsewhere, which consumers ignore`},
		},
		"does not compile outside": {
			change: map[string]string{
				"stem/cmd/grow/main.go": "// Command grow is broken.\npackage main\n\nfunc main() { undefined() }\n",
			},
			want: []string{`stem: cannot be used: go build `},
		},
		"a name that a module's archive cannot hold": {
			change: map[string]string{"stem/testdata/nul/a.sql": "x"},
			want:   []string{`stem: cannot be published: .*"nul" disallowed`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repositoryOf(t, kit, test.change)
			failed, out := check(t, dir)
			var lines []string
			for line := range strings.Lines(out) {
				if line, ok := strings.CutPrefix(line, "FAILED: "); ok {
					lines = append(lines, line)
				}
			}
			if failed != len(test.want) || len(lines) != len(test.want) {
				t.Fatalf("%d problems, want %d:\n%s", failed, len(test.want), out)
			}
			for i, want := range test.want {
				if !regexp.MustCompile("^" + want).MatchString(lines[i]) {
					t.Errorf("problem %q, want %s", lines[i], want)
				}
			}
			if passed := strings.HasSuffix(out, inOrderOfRequirements); passed != (failed == 0) {
				t.Errorf("the tags are printed: %v, in\n%s", passed, out)
			}
		})
	}
}

// A released module is compared with its last tag. A tagged version is not tagged again, and the
// other modules use it.
func TestAfterARelease(t *testing.T) {
	t.Parallel()
	dir := repositoryOf(t, kit, nil)
	git(t, dir, "tag", "stem/leaf/v0.1.0")

	write(t, dir, map[string]string{
		"stem/leaf/leaf.go": "// Package leaf is required.\npackage leaf\n\nfunc New() {}\n",
	})
	git(t, dir, "commit", "-q", "-a", "-m", "New for Old")
	if failed, out := check(t, dir); failed != 0 || !strings.HasSuffix(out,
		"\ngit tag stem/v0.1.0\ngit push origin stem/v0.1.0\n") {
		t.Errorf("one module is tagged: %d problems\n%s", failed, out)
	}

	write(t, dir, map[string]string{
		"stem/leaf/CHANGELOG.md": "# Changelog\n\n## Unreleased\n\nTo be v0.2.0.\n\n## v0.1.0\n",
		"stem/go.mod":            strings.Replace(kit["stem/go.mod"], "v0.1.0", "v0.2.0", 1),
	})
	git(t, dir, "commit", "-q", "-a", "-m", "to be v0.2.0")
	failed, out := check(t, dir)
	if failed != 0 || !strings.Contains(out, "Old: removed") || !strings.Contains(out, "git tag stem/leaf/v0.2.0\n") {
		t.Errorf("before the second release: %d problems\n%s", failed, out)
	}

	git(t, dir, "tag", "stem/leaf/v0.2.0")
	git(t, dir, "tag", "stem/v0.1.0")
	write(t, dir, map[string]string{"stem/leaf/leaf.go": "not committed"})
	failed, out = check(t, dir)
	if failed != 0 || !strings.Contains(out, "every version is tagged") ||
		!strings.Contains(out, "uncommitted changes are not checked") {
		t.Errorf("all is tagged: %d problems\n%s", failed, out)
	}
}

// From v1 on, gorelease's opinion of a version is a problem.
func TestVersionThatBreaksItsPromise(t *testing.T) {
	t.Parallel()
	leaf := maps.Clone(kit)
	maps.DeleteFunc(leaf, func(name, _ string) bool {
		return strings.HasPrefix(name, "stem/") && !strings.HasPrefix(name, "stem/leaf/")
	})
	leaf["go.work"] = "go 1.25.0\n\nuse ./stem/leaf\n"
	leaf["stem/leaf/CHANGELOG.md"] = "# Changelog\n\n## Unreleased\n\nTo be v1.0.1.\n"
	dir := repositoryOf(t, leaf, nil)
	git(t, dir, "tag", "stem/leaf/v1.0.0")
	git(t, dir, "tag", "stem/leaf/v0.9.0")
	write(t, dir, map[string]string{"stem/leaf/leaf.go": "// Package leaf has lost Old.\npackage leaf\n"})
	git(t, dir, "commit", "-q", "-a", "-m", "without Old")
	if failed, out := check(t, dir); failed != 1 ||
		!strings.Contains(out, "FAILED: stem/leaf: gorelease -base=v1.0.0 -version=v1.0.1") {
		t.Errorf("%d problems\n%s", failed, out)
	}
}

// Anything that prevents the checks is an error.
func TestCannotBeChecked(t *testing.T) {
	t.Parallel()
	circle := map[string]string{
		"stem/leaf/go.mod": "module example.com/kit/stem/leaf\n\ngo 1.25.0\n\nrequire example.com/kit/stem v0.1.0\n",
	}
	tests := map[string]struct {
		dir  string
		want string
	}{
		"no repository": {t.TempDir(), "git status"},
		"no workspace":  {repositoryOf(t, map[string]string{"a": "a"}, nil), "go.work"},
		"circle":        {repositoryOf(t, kit, circle), "circle"},
		"module elsewhere": {
			repositoryOf(t, kit, map[string]string{"stem/go.mod": "module example.com/root\n"}), "another folder",
		},
		"changelog unreadable": {
			repositoryOf(t, kit, map[string]string{"stem/CHANGELOG.md": "# Changelog\n"}), "names no version",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := run(t.Context(), test.dir, gorelease, t.Output()); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func check(t *testing.T, dir string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	failed, err := run(t.Context(), dir, gorelease, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return failed, out.String()
}

// repositoryOf makes one with the files, changed, in one commit.
func repositoryOf(t *testing.T, files, change map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files = maps.Clone(files)
	maps.Copy(files, change)
	maps.DeleteFunc(files, func(_, text string) bool { return text == absent })
	write(t, dir, files)
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "all")
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t",
		"GIT_COMMITTER_EMAIL=t@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}
