package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The files by name: a node_modules that somebody made there is not to be compiled in.
//
//go:embed prisma/package.json prisma/package-lock.json prisma/schema.prisma prisma/prisma.config.ts prisma/driver.mjs
var prismaFiles embed.FS

// noPrismaError is why Prisma cannot run here.
type noPrismaError struct{ reason string }

func (e *noPrismaError) Error() string { return e.reason }

// prismaFolder is where the packages of the lock file and the generated client are, or will be: in
// the user's cache directory.
func prismaFolder() (folder string, files map[string][]byte, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, &noPrismaError{err.Error()}
	}
	files = make(map[string][]byte)
	sum := sha256.New()
	for _, name := range []string{
		"package.json", "package-lock.json", "schema.prisma", "prisma.config.ts", "driver.mjs",
	} {
		if files[name], err = prismaFiles.ReadFile("prisma/" + name); err != nil {
			return "", nil, err
		}
		if name != "driver.mjs" { // which changes what is measured, not what has to be installed
			sum.Write(files[name])
		}
	}
	return filepath.Join(cache, "persistence-bench", fmt.Sprintf("prisma-%x", sum.Sum(nil)[:8])), files, nil
}

// installPrisma returns node and the driver, which lies in Prisma's folder. The first call on a
// machine fills that from the npm registry.
func installPrisma(ctx context.Context) (node, driver string, err error) {
	node, err = exec.LookPath("node")
	if err != nil {
		return "", "", &noPrismaError{"node is not in PATH"}
	}
	folder, files, err := prismaFolder()
	if err != nil {
		return "", "", err
	}
	if _, err := os.Stat(folder); err != nil {
		if err := fillFolder(ctx, folder, files); err != nil {
			return "", "", err
		}
	}
	driver = filepath.Join(folder, fmt.Sprintf("driver-%x.mjs", sha256.Sum256(files["driver.mjs"])))
	return node, driver, writeOnce(driver, files["driver.mjs"])
}

// reportPrisma reports the versions that package.json names.
func reportPrisma(r *report) error {
	text, err := prismaFiles.ReadFile("prisma/package.json")
	if err != nil {
		return err
	}
	var named struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(named.Dependencies)) {
		r.version(name, named.Dependencies[name])
	}
	return nil
}

// fillFolder works in another folder and renames it, for others may install at the same time, and
// this may be killed.
func fillFolder(ctx context.Context, folder string, files map[string][]byte) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return &noPrismaError{"npm is not in PATH"}
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(folder), "installing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(temp, name), content, 0o644); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // 300 MB; the registry may be far away
	defer cancel()
	fmt.Fprintln(os.Stderr, "bench: installing Prisma from the npm registry into", folder)
	// Without the network npm ci takes minutes to say so.
	if err := inFolder(ctx, temp, npm, "view", "pg", "version", "--fetch-retries=0"); err != nil {
		return err
	}
	if err := inFolder(ctx, temp, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"); err != nil {
		return err
	}
	if err := inFolder(ctx, temp, filepath.Join(temp, "node_modules", ".bin", "prisma"), "generate"); err != nil {
		return err
	}
	if err := os.Rename(temp, folder); err != nil {
		if _, missing := os.Stat(folder); missing != nil {
			return err
		}
	}
	return nil
}

func inFolder(ctx context.Context, folder, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.WaitDelay = folder, 5*time.Second
	// The client needs no engine, but the command downloads one for migrations unless it is told
	// that there is one. It calls home unless told not to.
	cmd.Env = append(os.Environ(), "PRISMA_SCHEMA_ENGINE_BINARY=package.json", "CHECKPOINT_DISABLE=1",
		"PRISMA_HIDE_UPDATE_MESSAGE=1")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); errors.Is(ended, context.Canceled) {
		return ended
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	return &noPrismaError{
		fmt.Sprintf("%s %s: %v: %s", filepath.Base(program), args[0], err,
			strings.Join(lines[max(0, len(lines)-5):], "; ")),
	}
}

// writeOnce leaves a file that is there as it is: a process may be reading it.
func writeOnce(name string, content []byte) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "writing-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}
