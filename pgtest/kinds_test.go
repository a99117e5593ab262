package pgtest_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest"
)

// runChildArgs runs the binary with test flags of its own; name is what onlyAsChild asks for.
func runChildArgs(t *testing.T, name, env string, args ...string) string {
	t.Helper()
	cmd := child(t, name, env)
	cmd.Args = slices.Replace(cmd.Args, 1, 3, args...) // instead of -test.run and -test.v
	cmd.Dir = t.TempDir()                              // a fuzzer leaves its findings in the working directory
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// own writes one row and must see no other.
func own(t interface {
	pgtest.TB
	Error(args ...any)
}, row int,
) {
	t.Helper()
	pool := pgtest.New(t, pgtest.Migrations(twoTables))
	var rows []int
	err := pool.QueryRow(t.Context(), `with new as (insert into pages values ($1) returning id)
		select array_agg(id) from (select id from pages union all select id from new) x`, row).Scan(&rows)
	if err != nil {
		t.Error(err)
	}
	if len(rows) != 1 || rows[0] != row {
		t.Errorf("rows %v, want only %d", rows, row)
	}
}

// In a fuzz target New works for the target and for each input, with the seeds and with a fuzzer's
// worker processes. The full reliability run fuzzes for some seconds.
func TestFuzzTarget(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	out := runChildArgs(t, "FuzzChild", env, "-test.run=^FuzzChild$", "-test.v")
	if n := strings.Count(out, "--- PASS: FuzzChild/seed#"); n != 2 {
		t.Errorf("%d seeds ran:\n%s", n, out)
	}
	limit := "30x"
	if os.Getenv(fullReliability) != "" {
		limit = "5s"
	}
	out = runChildArgs(t, "FuzzChild", env, "-test.run=^$", "-test.fuzz=^FuzzChild$", "-test.fuzztime="+limit,
		"-test.fuzzcachedir="+t.TempDir(), "-test.parallel=2")
	if m := regexp.MustCompile(`execs: (\d+)`).FindAllStringSubmatch(out, -1); m == nil {
		t.Errorf("nothing was fuzzed:\n%s", out)
	} else if n, err := strconv.Atoi(m[len(m)-1][1]); err != nil || n < 30 {
		t.Errorf("%d inputs:\n%s", n, out)
	}
	nothingUsedStays(t, server.URL(), env)
}

func FuzzChild(f *testing.F) {
	if os.Getenv(childEnv) != f.Name() {
		f.Skip("run by another test")
	}
	f.Add(1)
	f.Add(2)
	own(f, 7)
	f.Fuzz(func(t *testing.T, row int) {
		own(t, int(int32(row)))
	})
}

// nothingUsedStays: the next process drops what this one's tests had.
func nothingUsedStays(t *testing.T, admin, env string) {
	t.Helper()
	before := strings.Fields(scan(t, admin, usedNames))
	runChild(t, "TestChildTakes", env)
	left := " " + scan(t, admin, usedNames) + " "
	for _, name := range before {
		if strings.Contains(left, " "+name+" ") {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestBenchmarks(t *testing.T) {
	t.Parallel()
	_, env := configured(t)
	out := runChildArgs(t, "BenchmarkChild", env, "-test.run=^$", "-test.bench=^BenchmarkChild$",
		"-test.benchtime=3x", "-test.count=2")
	if n := strings.Count(out, "ns/op"); n != 2 {
		t.Errorf("%d benchmarks ran:\n%s", n, out)
	}
}

func BenchmarkChild(b *testing.B) {
	if os.Getenv(childEnv) != "BenchmarkChild" {
		b.Skip("run by another test")
	}
	row := 0
	for b.Loop() {
		row++
		own(b, row)
	}
}

// The same tests again and again in one process, with subtests of subtests, in parallel or not;
// each has a database of its own, and on a configured server none is left.
func TestCountAndSubtests(t *testing.T) {
	t.Parallel()
	admin, env := configured(t)
	out := runChildArgs(t, "TestChildSubtests", env, "-test.run=^TestChildSubtests$", "-test.count=3",
		"-test.parallel=4", "-test.v")
	if n := strings.Count(out, "--- PASS: TestChildSubtests "); n != 3 {
		t.Errorf("ran %d times:\n%s", n, out)
	}
	if left := scan(t, admin, allOurs); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestChildSubtests(t *testing.T) {
	onlyAsChild(t)
	own(t, 1)
	t.Run("one after another", func(t *testing.T) {
		own(t, 2)
		t.Run("inner", func(t *testing.T) { own(t, 3) })
	})
	for i := range 4 {
		t.Run("parallel", func(t *testing.T) {
			t.Parallel()
			own(t, i)
			t.Run("inner", func(t *testing.T) {
				t.Parallel()
				own(t, 10+i)
			})
		})
	}
}

// However a test ends, it says why and its database goes: at once on a configured server.
func TestEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want []string
		left int // databases until the next process
	}{
		"Panics":           {want: []string{"panic: on purpose"}},
		"FailsNow":         {want: []string{"on purpose"}},
		"LeaksTransaction": {want: []string{"1 connection(s)", "TestChildLeaksTransaction", "ends_test.go:"}},
		"LeaksGoroutine":   {want: []string{"1 connection(s)", "TestChildLeaksGoroutine", "ends_test.go:"}},
		"Exits":            {left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin, env := configured(t)
			out, err := child(t, "TestChild"+name, env).CombinedOutput()
			if err == nil {
				t.Errorf("passed:\n%s", out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if left := strings.Fields(scan(t, admin, allOurs)); len(left) != c.left {
				t.Errorf("left: %q", left)
			}
			runChild(t, "TestChildTakes", env)
			if left := scan(t, admin, allOurs); left != "" {
				t.Errorf("left after the next process: %s", left)
			}
		})
	}
}

// A user's goleak finds nothing of pgtest's when the tests are over, and finds what a test leaks.
func TestGoleak(t *testing.T) {
	t.Parallel()
	_, env := ownServer(t)
	runChild(t, "TestChildSubtests", env, goleakEnv+"=1")
	out, err := child(t, "TestChildLeaksPlainGoroutine", env, goleakEnv+"=1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "TestChildLeaksPlainGoroutine") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Many short processes in a row, which have no time for a sweep, do not fill the server.
func TestShortProcessesDoNotAddUp(t *testing.T) {
	t.Parallel()
	server, env := ownServer(t)
	most := 0
	for range 12 {
		out, err := child(t, "TestChildExits", env).CombinedOutput()
		if err == nil {
			t.Fatalf("%s", out)
		}
		most = max(most, len(strings.Fields(scan(t, server.URL(), allOurs))))
	}
	if most > 24 {
		t.Errorf("%d databases", most)
	}
	if most < 3 {
		t.Error("this test cannot see databases")
	}
}
