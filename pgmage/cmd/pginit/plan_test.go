package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// all are the files of a new project.
var all = []string{
	".env", ".github/workflows/ci.yml", ".gitignore", "db/db.go", "db/models.go", "db/notes.sql.go",
	"deploy/kubernetes.yaml", "example.env", "magefile.go", "main.go", "main_test.go", "migrations/001_notes.sql",
	"migrations/migrations_test.go", "queries/notes.sql", "seeds/development/notes.sql", "sqlc.sum", "sqlc.yaml",
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "[odd", "shop")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFiles says which files a plan writes into a module that has some.
func TestFiles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		have    map[string]string
		minimal bool
		without []string // of all, patterns
	}{
		"nothing here": {},
		"minimal": {minimal: true, without: []string{
			".github/*", "db/*", "deploy/*", "main*", "queries/*", "sqlc.*",
		}},
		"a program of its own": {
			have:    map[string]string{"go.mod": "module example.com/shop\n", "main.go": "package main\n"},
			without: []string{"main.go", "main_test.go"},
		},
		"a library": {
			have:    map[string]string{"shop.go": "package shop\n"},
			without: []string{"main.go", "main_test.go"},
		},
		"migrations": {
			have:    map[string]string{"migrations/V1__init.sql": "select 1;"},
			without: []string{"db/*", "main*", "migrations/*", "queries/*", "seeds/*", "sqlc.*"},
		},
		"a magefile of another name": {
			have:    map[string]string{"commands.go": "//go:build mage\n\npackage main\n"},
			without: []string{"magefile.go"},
		},
		"magefiles": {
			have:    map[string]string{"magefiles/test.go": "package main\n"},
			without: []string{"magefile.go"},
		},
		"sqlc": {
			have:    map[string]string{"sqlc.json": "{}"},
			without: []string{"db/*", "main*", "queries/*", "sqlc.*"},
		},
		"single files": {
			have: map[string]string{
				".env": "DATABASE_URL=postgres://a\n", ".gitignore": "bin\n", ".github/workflows/ci.yml": "on: push\n",
			},
			without: []string{".env", ".gitignore", ".github/*"},
		},
		"a workflow and manifests of its own": {
			have:    map[string]string{".github/workflows/build.yml": "on: push\n", "deploy/app.yaml": "kind: Pod\n"},
			without: []string{".github/*", "deploy/*"},
		},
		"programs of its own": {
			have:    map[string]string{"cmd/shop/main.go": "package main\n"},
			without: []string{"main*"},
		},
		"files where folders would be": {
			have:    map[string]string{"deploy": "#!/bin/sh\n", "db": "SQLite format 3", "seeds": "", ".github": ""},
			without: []string{".github/*", "db/*", "deploy/*", "main*", "migrations/*", "queries/*", "seeds/*", "sqlc.*"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, test.have)
			p, err := newPlan(t.Context(), options{dir: dir, minimal: test.minimal})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range p.files {
				if err := f.write(dir); err != nil {
					t.Error(err)
				}
				if !f.exists {
					got = append(got, f.name)
				}
			}
			slices.Sort(got)
			want := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
				return slices.ContainsFunc(test.without, func(pattern string) bool {
					top, _ := filepath.Match(pattern, name)
					folder, whole := strings.CutSuffix(pattern, "/*")
					return top || whole && strings.HasPrefix(name, folder+"/")
				})
			})
			if !slices.Equal(got, want) {
				t.Errorf("wrote %q\nwant  %q", got, want)
			}
			for name, text := range test.have {
				if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(now) != text {
					t.Errorf("%s is %q now: %v", name, now, err)
				}
			}
		})
	}
}

// TestAgain finds nothing to write after the first time, and completes what was interrupted.
func TestAgain(t *testing.T) {
	t.Parallel()
	dir := folder(t, nil)
	for i, want := range [][]string{all, {}, {"db/models.go", "main.go"}} {
		if i == 2 {
			for _, name := range want {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		p, err := newPlan(t.Context(), options{dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		wrote := []string{}
		for _, f := range p.files {
			if !f.exists {
				wrote = append(wrote, f.name)
			}
			if err := f.write(dir); err != nil {
				t.Error(err)
			}
		}
		slices.Sort(wrote)
		if !slices.Equal(wrote, want) {
			t.Errorf("time %d: wrote %q, want %q", i+1, wrote, want)
		}
	}
}

// TestLinkIsNotFollowed leaves alone what a dangling link points to.
func TestLinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir := folder(t, nil)
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(target, filepath.Join(dir, ".env")); err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(t.Context(), options{dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.files {
		if err := f.write(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("a file was written through a link")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for module, want := range map[string][2]string{
		"example.com/shop":              {"shop", "shop"},
		"example.com/shop/v2":           {"shop", "shop"},
		"example.com/v2":                {"example.com", "example-com"},
		"example.com/Page_Builder":      {"Page_Builder", "page-builder"},
		"example.com/9lives":            {"9lives", "service-9lives"},
		"example.com/-":                 {"-", "service"},
		"shop":                          {"shop", "shop"},
		"example.com/vv":                {"vv", "vv"},
		"example.com/vault":             {"vault", "vault"},
		"gopkg.in/yaml.v3":              {"yaml.v3", "yaml-v3"},
		"a/" + strings.Repeat("x-", 30): {strings.Repeat("x-", 30), strings.Repeat("x-", 19) + "x"},
	} {
		p := &plan{module: module}
		if got := [2]string{p.name(), p.serviceName()}; got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
}

// TestCalls looks at exit statuses and at what is printed. Nothing is written.
func TestCalls(t *testing.T) {
	t.Parallel()
	module := folder(t, map[string]string{"go.mod": "module example.com/other // ours\n", "cmd/a/main.go": "package main\n"})
	empty := folder(t, nil)
	file := filepath.Join(module, "go.mod")
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"--dry-run", empty}, 0, "the new module example.com/shop in"},
		{[]string{"--dry-run", module}, 0, "the module example.com/other in"},
		{[]string{"--dry-run", "--module=example.com/other", module}, 0, "keep"},
		{[]string{"--dry-run", "--module=example.com/new", filepath.Join(module, "cmd/a")}, 0, "the new module example.com/new"},
		{[]string{"--dry-run", filepath.Join(empty, "not", "there")}, 0, "example.com/there"},
		{[]string{"--dry-run", "--replace", checkout, empty}, 0, "pgtx@v0"},
		{[]string{"--help"}, 0, "--replace PATH"},
		{[]string{"--module=example.com/new", module}, 2, "the module here is example.com/other"},
		{[]string{filepath.Join(module, "cmd/a")}, 2, "the folder belongs to the module of " + file},
		{[]string{filepath.Join(empty, "my shop")}, 2, "--module"},
		{[]string{filepath.Join(empty, "shop.")}, 2, "--module"},
		{[]string{"--dry-run", "--module=example.com/new", filepath.Join(empty, "my shop")}, 0, "example.com/new in"},
		{[]string{file}, 2, "is not a folder"},
		{[]string{"--replace", empty, empty}, 2, "is no checkout"},
		{[]string{"a", "b"}, 2, "more than one folder"},
		{[]string{"--nonsense"}, 2, "nonsense"},
	} {
		var out bytes.Buffer
		status := run(t.Context(), test.args, &out, &out)
		if status != test.status || !strings.Contains(strings.ReplaceAll(out.String(), "write", "keep"), test.text) {
			t.Errorf("%q: status %d, want %d and %q:\n%s", test.args, status, test.status, test.text, &out)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(empty, "*")); len(found) > 0 {
		t.Errorf("a dry run wrote %q", found)
	}
}

// TestRefusedPath leaves nothing behind when the go command refuses the module's path.
func TestRefusedPath(t *testing.T) {
	t.Parallel()
	dir := folder(t, nil)
	var out bytes.Buffer
	if status := run(t.Context(), []string{"--module=a b", dir}, &out, &out); status != 1 ||
		!strings.Contains(out.String(), "malformed") {
		t.Errorf("status %d:\n%s", status, &out)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) > 0 {
		t.Errorf("it left %q", found)
	}
}

// TestVersions keeps the versions that pginit writes at those that this repository uses.
func TestVersions(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"../../../go.mod": mage + " " + mageVersion, "../../../tools/go.mod": sqlc + " " + sqlcVersion,
		"template/queries/db/models.go.tmpl": "sqlc " + sqlcVersion,
	} {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			t.Skip("the repository is not here")
		}
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not have %s: %v", name, want, err)
		}
	}
}

// TestPlaceholders finds one that is not filled in.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	p, err := newPlan(t.Context(), options{dir: folder(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	left := regexp.MustCompile(`\{\{\w*\}\}`)
	names := map[string]bool{}
	for _, f := range p.files {
		names[f.name] = true
		if found := left.FindString(f.text); found != "" {
			t.Errorf("%s has %s", f.name, found)
		}
	}
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, all) {
		t.Errorf("the templates are %q", got)
	}
}
