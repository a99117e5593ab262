package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// mod is a published module.
type mod struct {
	dir     string // folder in the repository, "pgtest/pgserver"; the tag's prefix
	root    string // root of the repository's clone
	prefix  string // prefix of the modules' paths, with a slash at the end
	file    *modfile.File
	version string
	tags    []string // its versions that are tagged, in order
}

func (m *mod) String() string            { return m.dir }
func (m *mod) path() string              { return m.file.Module.Mod.Path }
func (m *mod) name() string              { return strings.ReplaceAll(m.dir, "/", "-") } // without a slash
func (m *mod) tag(version string) string { return m.dir + "/" + version }
func (m *mod) tagged() bool              { return slices.Contains(m.tags, m.version) }

// base is the version that the new one is compared with, "none" before the first.
func (m *mod) base() string {
	last := "none"
	for _, v := range m.tags {
		if semver.Compare(v, m.version) < 0 {
			last = v
		}
	}
	return last
}

func (r *repository) module(ctx context.Context, dir string) (*mod, error) {
	m := &mod{dir: dir, root: r.dir}
	text, err := os.ReadFile(filepath.Join(r.dir, dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	if m.file, err = modfile.Parse(dir+"/go.mod", text, nil); err != nil {
		return nil, err
	}
	var ok bool
	if m.prefix, ok = strings.CutSuffix(m.path(), dir); !ok {
		return nil, fmt.Errorf("%s/go.mod: the module %s is in another folder than its path says", dir, m.path())
	}
	names, err := command(ctx, r.dir, nil, "git", "tag", "--list", dir+"/v*")
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(string(names)) {
		if v := strings.TrimPrefix(name, dir+"/"); semver.IsValid(v) {
			m.tags = append(m.tags, v)
		}
	}
	semver.Sort(m.tags)
	if m.version, err = nextVersion(filepath.Join(r.dir, dir, "CHANGELOG.md")); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

var (
	planned  = regexp.MustCompile(`(?m)^To be (v\d\S*)\.$`)
	released = regexp.MustCompile(`(?m)^## (v\d\S*)`)
)

// nextVersion reads the next version from a CHANGELOG.md, or the last one if none is planned.
// Without a file it returns the first version, so that everything else can still be checked; files
// reports the missing file.
func nextVersion(changelog string) (string, error) {
	text, err := os.ReadFile(changelog)
	if os.IsNotExist(err) {
		return "v0.1.0", nil
	}
	if err != nil {
		return "", err
	}
	for _, pattern := range []*regexp.Regexp{planned, released} {
		if found := pattern.FindSubmatch(text); found != nil {
			return string(found[1]), nil
		}
	}
	return "", fmt.Errorf("CHANGELOG.md names no version: write \"To be v0.1.0.\" under \"## Unreleased\"")
}

// files returns the missing files of a published module. The go command would add the repository's
// LICENSE to a module without one, but a person who opens the folder would not see it.
func (m *mod) files() (problems []string) {
	for _, name := range []string{"LICENSE", "CHANGELOG.md", "README.md"} {
		if info, err := os.Stat(filepath.Join(m.root, m.dir, name)); err != nil || info.Size() == 0 {
			problems = append(problems, "has no "+name)
		}
	}
	return problems
}

// siblings returns the modules that m requires.
func (m *mod) siblings(all []*mod) (siblings []*mod) {
	for _, r := range m.file.Require {
		for _, s := range all {
			if s.path() == r.Mod.Path {
				siblings = append(siblings, s)
			}
		}
	}
	return siblings
}

// requirements finds lines of go.mod that work in the workspace but not for a consumer.
func (m *mod) requirements(all []*mod) (problems []string) {
	versions := map[string]string{}
	for _, s := range all {
		versions[s.path()] = s.version
	}
	for _, r := range m.file.Require {
		if want := versions[r.Mod.Path]; strings.HasPrefix(r.Mod.Path, m.prefix) && r.Mod.Version != want {
			if want == "" {
				want = "never published"
			}
			problems = append(problems, fmt.Sprintf("go.mod requires %s %s: it is %s", r.Mod.Path, r.Mod.Version, want))
		}
	}
	for _, r := range m.file.Replace {
		if versions[r.Old.Path] == "" {
			problems = append(problems, fmt.Sprintf("go.mod replaces %s, which consumers ignore", r.Old.Path))
		}
	}
	return problems
}
