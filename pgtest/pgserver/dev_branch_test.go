package pgserver_test

import (
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// A branch is a copy with all that belongs to the database, and a switch changes no URL.
func TestBranches(t *testing.T) {
	t.Parallel()
	dev := pgserver.Dev{Name: "b", Database: "it's a shop", Dir: scratchDir(t)}
	if _, err := dev.Branch(t.Context(), "early"); !errors.Is(err, pgserver.ErrNotRunning) {
		t.Errorf("not running: %v", err)
	}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Remove(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	lists := func(want string) {
		t.Helper()
		found, err := dev.Branches(t.Context())
		var names []string
		for _, b := range found {
			if b.Current {
				b.Name = "*" + b.Name
			}
			names = append(names, b.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("branches %q, want %q (%v)", got, want, err)
		}
	}
	did := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	refused := func(want, name string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %v: want an error with %q", name, err, want)
		}
	}
	execute(t, url, "create role keeper")
	execute(t, url, `alter database "it's a shop" owner to keeper`)
	execute(t, url, `alter database "it's a shop" set search_path = a, "B c"`)
	execute(t, url, `revoke connect on database "it's a shop" from public`)
	execute(t, url, "create schema a; create table a.notes as select 'first' as text")

	const feature = `feature/it's "new"`
	name, err := dev.Branch(t.Context(), feature)
	did(name, err)
	lists("*main " + feature)
	execute(t, url, "insert into a.notes values ('only here')")
	name, err = dev.Switch(t.Context(), feature)
	did(name, err)
	lists("*" + feature + " main")
	if got := query(t, url, "select string_agg(text, ' ') from notes"); got != "first" { // by the search_path
		t.Errorf("in the branch: %s", got)
	}
	const attributes = `select concat_ws(' ', pg_get_userbyid(datdba), datacl::text, current_setting('search_path'))
		from pg_database where datname = current_database()`
	of := query(t, url, attributes)
	name, err = dev.Switch(t.Context(), "main")
	did(name, err)
	if got := query(t, url, "select count(*)::text from notes"); got != "2" {
		t.Errorf("back: %s rows", got)
	}
	if got := query(t, url, attributes); got != of || !strings.Contains(got, `keeper`) {
		t.Errorf("%s, and the branch has %s", got, of)
	}
	name, err = dev.Switch(t.Context(), "main") // it is
	did(name, err)

	name, err = dev.Branch(t.Context(), "main")
	refused("already", name, err)
	name, err = dev.Branch(t.Context(), feature)
	refused("already", name, err)
	name, err = dev.Switch(t.Context(), "other")
	refused("only main, "+feature, name, err)
	name, err = dev.Branch(t.Context(), strings.Repeat("long", 20))
	refused("more than 63 bytes", name, err)
	execute(t, url, `alter database "it's a shop" reset all`)
	execute(t, url, `alter database "it's a shop@`+strings.ReplaceAll(feature, `"`, `""`)+`" rename to "it's a shop@main"`)
	lists("*main-1 main")
	execute(t, url, `alter database "it's a shop@main" rename to "it's a shop@`+strings.ReplaceAll(feature, `"`, `""`)+`"`)
	execute(t, url, `create database "it's a shop@half~"`) // of a copy that was killed
	name, err = dev.Branch(t.Context(), "next")
	did(name, err)
	lists("*main " + feature + " next")
	if got := query(t, url, "select count(*)::text from pg_database where right(datname, 1) = '~'"); got != "0" {
		t.Errorf("%s half copies", got)
	}
	did("next", dev.RemoveBranch(t.Context(), "next"))
	refused("main is not among", "main", dev.RemoveBranch(t.Context(), "main"))
	did(feature, dev.RemoveBranch(t.Context(), feature))
	lists("*main")
}

// The name comes from git, and programs that stay connected are no hindrance.
func TestBranchOfGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	dir := scratchDir(t)
	t.Chdir(dir)
	dev := pgserver.Dev{Dir: dir}
	url, err := dev.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dev.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := dev.Branch(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "name the branch") {
		t.Errorf("outside of git: %v", err)
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "master"},
		{"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "a"},
		{"switch", "-q", "-c", "login"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	// A program that connects again and again, as a service does.
	var program sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		program.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = connectError(t, url)
				}
			}
		})
	}
	if name, err := dev.Branch(t.Context(), ""); err != nil || name != "login" {
		t.Errorf("%s, %v", name, err)
	}
	if name, err := dev.Switch(t.Context(), ""); err != nil || name != "login" {
		t.Errorf("%s, %v", name, err)
	}
	close(stop)
	program.Wait()
	found, err := dev.Branches(t.Context())
	if err != nil || len(found) != 2 || found[0].Name != "login" || found[1].Name != "master" {
		t.Errorf("branches: %v, %v", found, err)
	}
}
