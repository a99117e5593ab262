package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// proxy is a folder that the go command reads as a module proxy:
// https://go.dev/ref/mod#goproxy-protocol.
type proxy struct {
	dir        string
	repository string
	sums       []byte // lines for a go.sum
}

// publish adds the tagged versions of m and the next one.
func (p *proxy) publish(ctx context.Context, m *mod) error {
	escaped, err := module.EscapePath(m.path())
	if err != nil {
		return err
	}
	dir := filepath.Join(p.dir, escaped, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, v := range m.tags {
		if err := p.addVersion(ctx, dir, m, v, m.tag(v)); err != nil {
			return err
		}
	}
	if !m.tagged() {
		if err := p.addVersion(ctx, dir, m, m.version, "HEAD"); err != nil {
			return err
		}
	}
	// Leave the next version out of the list: gorelease refuses an existing one.
	return os.WriteFile(filepath.Join(dir, "list"), []byte(strings.Join(m.tags, "\n")+"\n"), 0o644)
}

// announce makes the next versions the latest ones. Call it after gorelease.
func (p *proxy) announce(modules []*mod) error {
	for _, m := range modules {
		escaped, err := module.EscapePath(m.path())
		if err != nil {
			return err
		}
		versions := strings.Join(append(slices.Clone(m.tags), m.version), "\n") + "\n"
		if err := os.WriteFile(filepath.Join(p.dir, escaped, "@v", "list"), []byte(versions), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// addVersion adds a version with its files at the revision.
func (p *proxy) addVersion(ctx context.Context, dir string, m *mod, version, revision string) error {
	at := filepath.Join(dir, version)
	file, err := os.Create(at + ".zip")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := zip.CreateFromVCS(file, module.Version{Path: m.path(), Version: version}, p.repository,
		revision, m.dir); err != nil {
		return fmt.Errorf("%s %s: %w", m.dir, version, err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	text, err := command(ctx, p.repository, nil, "git", "show", revision+":"+m.dir+"/go.mod")
	if err != nil {
		return err
	}
	if err := os.WriteFile(at+".mod", text, 0o644); err != nil {
		return err
	}
	archive, err := dirhash.HashZip(at+".zip", dirhash.Hash1)
	if err != nil {
		return err
	}
	manifest, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text)), nil
	})
	if err != nil {
		return err
	}
	p.sums = fmt.Appendf(p.sums, "%s %s %s\n%[1]s %[2]s/go.mod %[4]s\n", m.path(), version, archive, manifest)
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC()})
	if err != nil {
		return err
	}
	return os.WriteFile(at+".info", info, 0o644)
}
