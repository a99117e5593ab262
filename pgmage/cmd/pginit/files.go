package main

import (
	"embed"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// templates holds the files, by group. All end in .tmpl, so that they are no Go code of this
// module. A name that begins with a dot is written dot.NAME.
//
//go:embed template
var templates embed.FS

// group is a part of the files that is written as a whole or not at all.
type group struct {
	name  string // its folder in template
	full  bool   // left out by --minimal
	needs string // the group without which this one makes no sense

	// taken says what the module has already, in patterns of names. The group's own files do not
	// count, as long as they are as pginit writes them. mage selects the Go files that only Mage
	// reads, instead of all others.
	taken []string
	mage  bool
}

var groups = []group{
	{name: "base"},
	{name: "mage", taken: []string{"*.go", "magefiles/*"}, mage: true},
	{name: "schema", taken: []string{"migrations/*.sql"}},
	{
		name: "queries", full: true, needs: "schema",
		taken: []string{"sqlc.yaml", "sqlc.yml", "sqlc.json", "queries/*", "db/*"},
	},
	{name: "program", full: true, needs: "queries", taken: []string{"*.go", "cmd/*/*.go"}},
	{name: "ci", full: true, taken: []string{".github/workflows/*"}},
	{name: "kubernetes", full: true, taken: []string{"deploy/*"}},
}

// addFiles decides which files are written.
func (p *plan) addFiles(minimal bool) error {
	for _, g := range groups {
		if g.full && minimal {
			continue
		}
		files, err := p.filesOf(g)
		if err != nil {
			return err
		}
		switch found := p.find(g, files); {
		case found != "":
			p.skip(files, found+" is here")
		case g.needs != "" && !slices.Contains(p.groups, g.needs):
			p.skip(files, "it is made for the example's "+g.needs)
		default:
			p.groups = append(p.groups, g.name)
			p.files = append(p.files, files...)
		}
	}
	if ignored, err := os.ReadFile(filepath.Join(p.dir, ".gitignore")); err == nil && !ignoresEnv.Match(ignored) {
		p.skipped = append(p.skipped, ".gitignore: it is here; add a line with .env")
	}
	return nil
}

var ignoresEnv = regexp.MustCompile(`(?m)^(/|\*\*/)?(\.env\*?|\*\.env)\s*$`)

func (p *plan) skip(files []file, why string) {
	for _, f := range files {
		p.skipped = append(p.skipped, f.name+": "+why)
	}
}

// filesOf returns the group's files with the module's names filled in.
func (p *plan) filesOf(g group) (files []file, err error) {
	root := path.Join("template", g.name)
	fill := strings.NewReplacer("{{module}}", p.module, "{{name}}", p.name(), "{{service}}", p.serviceName())
	err = fs.WalkDir(templates, root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := templates.ReadFile(at)
		if err != nil {
			return err
		}
		f := file{name: strings.TrimSuffix(strings.TrimPrefix(at, root+"/"), ".tmpl"), text: fill.Replace(string(text))}
		if hidden, ok := strings.CutPrefix(f.name, "dot."); ok {
			f.name = "." + hidden
		}
		_, err = os.Lstat(filepath.Join(p.dir, filepath.FromSlash(f.name)))
		f.exists = err == nil
		files = append(files, f)
		if f.name == "example.env" {
			f.name = ".env"
			_, err = os.Lstat(filepath.Join(p.dir, f.name))
			f.exists = err == nil
			files = append(files, f)
		}
		return nil
	})
	return files, err
}

// find returns a file of the module in whose presence the group is not written, or "".
func (p *plan) find(g group, own []file) string {
	for _, f := range own {
		for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
			if info, err := os.Stat(filepath.Join(p.dir, filepath.FromSlash(dir))); err == nil && !info.IsDir() {
				return dir // a file where the group has a folder
			}
		}
	}
	for _, pattern := range g.taken {
		module := os.DirFS(p.dir)
		found, _ := fs.Glob(module, pattern)
		for _, name := range found {
			text, _ := fs.ReadFile(module, name) // a folder has none
			if slices.ContainsFunc(own, func(f file) bool { return f.name == name && f.text == string(text) }) {
				continue
			}
			if !strings.HasSuffix(pattern, "*.go") || isMagefile(text) == g.mage {
				return name
			}
		}
	}
	return ""
}

func isMagefile(text []byte) bool { return strings.Contains("\n"+string(text), "\n//go:build mage") }
