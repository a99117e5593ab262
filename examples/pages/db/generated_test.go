package db_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/page-builder/persistence/pgtest"
)

// update writes testdata/generated.sum: go tool mage generate sets it, and SQLC.
var update = flag.Bool("update", false, "write testdata/generated.sum; needs SQLC")

const sumFile = "testdata/generated.sum"

// The generated code is what sqlc makes of the queries and the migrations that are here.
//
// To build sqlc takes minutes, so that most runs compare sums: of what sqlc read and wrote when
// somebody last ran it. With SQLC set to the path of a sqlc it is run: its output compared, and
// each query prepared on a migrated database.
func TestGenerated(t *testing.T) {
	t.Parallel()
	got := sums(t)
	if sqlc := os.Getenv("SQLC"); sqlc != "" {
		run(t, sqlc, "diff")
		run(t, sqlc, "vet")
		if *update {
			must(t, os.WriteFile(sumFile, []byte(got), 0o644))
		}
	}
	want, err := os.ReadFile(sumFile)
	must(t, err)
	if got == string(want) {
		return
	}
	was := strings.Split(string(want), "\n")
	for _, line := range strings.Split(got, "\n") {
		if !slices.Contains(was, line) {
			t.Errorf("changed since the code was generated: %s", line)
		}
	}
	t.Error("the generated code may be stale: run go tool mage generate, and commit what it writes")
}

// sums lists a checksum of each file that sqlc reads or writes, and of its version.
func sums(t *testing.T) string {
	t.Helper()
	files := []string{"../sqlc.yaml"}
	for _, pattern := range []string{"../../../migrations/*.sql", "queries/*.sql", "*.sql.go", "models.go", "db.go"} {
		matches, err := filepath.Glob(pattern)
		must(t, err)
		if len(matches) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		files = append(files, matches...)
	}
	var b strings.Builder
	for _, file := range files {
		body, err := os.ReadFile(file)
		must(t, err)
		fmt.Fprintf(&b, "%x %s\n", sha256.Sum256(body), filepath.ToSlash(file))
	}
	tools, err := os.ReadFile("../../../tools/go.mod")
	must(t, err)
	for line := range strings.Lines(string(tools)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "github.com/sqlc-dev/sqlc" {
			fmt.Fprintf(&b, "%s %s\n", fields[0], fields[1])
		}
	}
	return b.String()
}

// run runs sqlc on a migrated database of this test: sqlc vet must never meet one that somebody
// uses.
func run(t *testing.T, sqlc, command string) {
	t.Helper()
	cmd := exec.Command(sqlc, command)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "SQLC_VET_DATABASE_URL="+pgtest.URL(t), "SQLCDEBUG=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sqlc %s: %v\n%s", command, err, out)
	}
}
