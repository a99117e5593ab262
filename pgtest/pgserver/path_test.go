package pgserver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A test's PATH, empty or with substitutes of the system's programs, keeps no server and no shell
// after its user.
func TestPATHOfTheUser(t *testing.T) {
	t.Parallel()
	for name, programs := range map[string]string{"empty": "", "substitutes": "sleep rm mv cat"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := scratchDir(t)
			for _, program := range strings.Fields(programs) {
				if err := os.WriteFile(filepath.Join(path, program), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			dir := publicDir(t)
			u := startUser(t, dir, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "PATH="+path) })
			u.stop.Close()
			if err := u.Wait(); err != nil {
				t.Error(err)
			}
			// That the server has gone is seen in the folder only.
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				left, _ := filepath.Glob(filepath.Join(dir, "pgserver-*"))
				if len(left) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("left: %v", left)
				}
			}
		})
	}
}

// publicDir is a folder that every user can write to, like the home of one, and run programs from.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := scratchDirIn(t, "/tmp")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A cache directory with any characters does for a client with PGSERVICE, which needs a file there.
func TestPathOfTheServiceFile(t *testing.T) {
	t.Setenv("PGSERVICE", "nothing")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "a b&c+d%20e=é'"))
	cfg, err := pgserver.ParseConfig("postgres://ann@localhost/shop")
	if err != nil || cfg.User != "ann" || cfg.Database != "shop" {
		t.Errorf("%v, %v", cfg, err)
	}
}
