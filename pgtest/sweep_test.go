package pgtest_test

import (
	"bufio"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/page-builder/persistence/pgtest"
)

// Advisory locks are a database's own: processes that reach the same server through another
// database leave each other's alone.
func TestSweepFromAnotherDatabase(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	execURL(t, admin, "create database elsewhere")
	startHolder(t, env)
	before := scan(t, admin, allOurs)
	other := strings.Replace(env, "/postgres?", "/elsewhere?", 1)
	if other == env {
		t.Fatal(env)
	}
	runChild(t, "TestChildTakes", other)
	runChild(t, "TestChildClean", other)
	if after := scan(t, admin, allOurs); after != before || len(strings.Fields(after)) != 3 {
		t.Errorf("%s, then %s", before, after)
	}
}

// startHolder returns when the process has its databases.
func startHolder(t *testing.T, env string) *osexec.Cmd {
	t.Helper()
	cmd := child(t, "TestChildHolds", env)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "holding") {
			return cmd
		}
	}
	t.Fatal("the holder ended")
	return nil
}

func TestChildHolds(t *testing.T) {
	onlyAsChild(t)
	for range 3 {
		pgtest.URL(t, pgtest.Migrations(twoTables))
	}
	fmt.Println("holding")
	select {} // until killed
}

// What a killed process left on a configured server goes at the next start; what a living one has,
// stays.
func TestSweepAfterKill(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	killed := startHolder(t, env)
	if n := len(strings.Fields(scan(t, admin, allOurs))); n != 3 {
		t.Fatalf("%d databases", n)
	}
	killed.Process.Kill()
	killed.Wait()
	startHolder(t, env) // sweeps, and holds three
	before := scan(t, admin, allOurs)
	runChild(t, "TestChildTakes", env)
	runChild(t, "TestChildClean", env)
	if after := scan(t, admin, allOurs); after != before || len(strings.Fields(after)) != 3 {
		t.Errorf("%s, then %s", before, after)
	}
}

const (
	readyOIDs = `select coalesce(string_agg(oid::text, ' '), '') from pg_database
		where datname ~ '^pgtest_[0-9a-f]{8}_' and datname !~ '_0{16}_'`
	usedNames = `select coalesce(string_agg(datname, ' '), '') from pg_database
		where datname ~ '^pgtest_[0-9a-f]{8}_' and datname ~ '_0{16}_'`
	allOurs = `select coalesce(string_agg(datname, ' '), '') from pg_database
		where datname ~ '^(pgtest_|testdb_tpl_.*_inst_)' and not datistemplate`
)

// What one process made ahead another takes, and what it used the other drops.
func TestNextProcessTakesOver(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	runChild(t, "TestChildEnds", env)
	waitForSessionsToEnd(t, server.URL())
	ready := scan(t, server.URL(), readyOIDs)
	if ready == "" {
		t.Fatal("the first process left nothing ready")
	}
	used := strings.Fields(scan(t, server.URL(), usedNames))
	if len(used) < 3 {
		t.Fatalf("the first process used %q", used)
	}
	out := runChild(t, "TestChildTakes", env)
	_, oid, _ := strings.Cut(out, "oid=")
	oid, _, _ = strings.Cut(oid, "\n")
	if oid == "" || !strings.Contains(" "+ready+" ", " "+oid+" ") {
		t.Errorf("took %s, ready were %s", oid, ready)
	}
	left := strings.Fields(scan(t, server.URL(), allOurs))
	for _, name := range used {
		if slices.Contains(left, name) {
			t.Errorf("%s was used and is still there: %s", name, left)
		}
	}
}

// waitForSessionsToEnd: those of a process that ended hold its lock until the server has noticed.
func waitForSessionsToEnd(t *testing.T, admin string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // polls
		left := scan(t, admin, `select coalesce(string_agg(query, '; '), '') from pg_stat_activity
			where backend_type = 'client backend' and pid <> pg_backend_pid()`)
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions of an ended process: %s", left)
		}
	}
}

// TestChildEnds ends its process without any cleanup.
func TestChildEnds(t *testing.T) {
	onlyAsChild(t)
	for range 3 {
		execURL(t, pgtest.URL(t, pgtest.Migrations(twoTables)), "insert into pages values (1)")
	}
	// Three more than the tests have: two of them are for this process only, the third waits for
	// the next.
	ready := func() int { return len(strings.Fields(scan(t, adminURL(t), allOurs))) }
	for deadline := time.Now().Add(20 * time.Second); ready() < 6; time.Sleep(5 * time.Millisecond) { // polls
		if time.Now().After(deadline) {
			t.Fatal("nothing is made ahead")
		}
	}
	os.Exit(0)
}

func TestChildTakes(t *testing.T) {
	onlyAsChild(t)
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	if n := count(t, pool, "pages"); n != 0 {
		t.Errorf("%d rows of another process's test", n)
	}
	var oid string
	if err := pool.QueryRow(t.Context(),
		"select oid::text from pg_database where datname = current_database()").Scan(&oid); err != nil {
		t.Fatal(err)
	}
	fmt.Println("oid=" + oid)
	if os.Getenv("PGTEST_URL") != "" { // swept before New returned
		return
	}
	// The sweep of a throw-away server comes a moment later. Two databases of this process may be
	// used: its own and one that waits for its next test.
	mine := strings.Join(strings.SplitN(pool.Config().ConnConfig.Database, "_", 3)[:2], "_") + "_"
	// Polls.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(strings.Fields(scan(t, adminURL(t), usedNames)), func(name string) bool {
			return !strings.HasPrefix(name, mine)
		}) {
			return
		}
	} // the parent sees it
}

// Clean drops what its own project left, and for all projects only on demand.
func TestCleanOfOneProject(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	const templates = "select count(*)::text from pg_database where datname ~ '^pgtest_tpl_'"
	in := func(dir, name string, more ...string) {
		t.Helper()
		cmd := child(t, name, append(more, env)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		in(dir, "TestChildTakes")
	}
	for _, step := range []struct {
		env  string
		left string
	}{{"", "1"}, {"PGTEST_TEST_CLEAN=dry", "1"}, {"PGTEST_TEST_CLEAN=all", "0"}} {
		in(one, "TestChildCleans", step.env)
		if left := scan(t, admin, templates); left != step.left {
			t.Errorf("%q: %s templates, want %s", step.env, left, step.left)
		}
	}
}

func TestChildCleans(t *testing.T) {
	onlyAsChild(t)
	what := os.Getenv("PGTEST_TEST_CLEAN")
	dropped, err := pgtest.Clean(t.Context(), pgtest.CleanOptions{AllProjects: what != "", DryRun: what == "dry"})
	if err != nil || len(dropped) == 0 {
		t.Errorf("%q, %v", dropped, err)
	}
}
