package pgserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// Each project has a server and a database of its own by default, named after its module; the
// folders of one workspace share one.
func TestDevNamesOfProjects(t *testing.T) {
	t.Setenv("GOWORK", "")
	base := scratchDir(t)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a/go.mod", "module example.com/acme/shop\n")
	write("b/go.mod", "module example.com/other/shop/v2\n")
	write("w/go.work", "go 1.25\n")
	write("w/one/go.mod", "module example.com/one\n")
	write("w/two/go.mod", "module example.com/two\n")
	write("none/file", "")
	server := func(dir string) string {
		t.Helper()
		t.Chdir(filepath.Join(base, dir))
		_, err := pgserver.Dev{Dir: filepath.Join(base, "s")}.URL()
		if !errors.Is(err, pgserver.ErrNotRunning) {
			t.Fatal(err)
		}
		return filepath.Base(err.Error())
	}
	a, b, one, two, none := server("a"), server("b"), server("w/one"), server("w/two"), server("none")
	if a == b || !strings.HasPrefix(a, "shop-") || !strings.HasPrefix(b, "shop-") {
		t.Errorf("two projects: %s, %s", a, b)
	}
	if one != two || one == none {
		t.Errorf("one workspace: %s, %s; none: %s", one, two, none)
	}
	if none != "default" {
		t.Errorf("outside: %s", none)
	}
	t.Setenv("GOWORK", "off")
	if alone := server("w/one"); alone == one || !strings.HasPrefix(alone, "one-") {
		t.Errorf("without the workspace: %s", alone)
	}
}

// What a user sets with ALTER SYSTEM stays, and does not change where the server listens.
func TestDevKeepsAlterSystem(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "it's a name", Dir: scratchDir(t)}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Remove(t.Context()); err != nil {
			t.Log(err)
		}
	})
	execute(t, url, "alter system set work_mem = '7MB'")
	execute(t, url, "alter system set port = 7777")
	if err := dev.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := dev.Start(t.Context())
	if err != nil || again != url {
		t.Fatalf("%s, %v", again, err)
	}
	if got := query(t, url, "show work_mem"); got != "7MB" {
		t.Errorf("work_mem is %s", got)
	}
	if got := query(t, url, "show timezone"); got != "UTC" {
		t.Errorf("timezone is %s", got)
	}
	if err := dev.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// scratchDir is a folder that goes with all that is in it, in memory: development servers wait for
// the disk.
func scratchDir(t *testing.T) string {
	t.Helper()
	return scratchDirIn(t, memory())
}

func scratchDirIn(t *testing.T, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
