package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgerr"
)

var (
	code       = regexp.MustCompile(`\b[0-9A-Z]{2}[0-9A-Z][0-9]{2}\b`)
	category   = regexp.MustCompile("`([a-z_]+)`")
	figure     = regexp.MustCompile(`(?m)^\| .* \| (.*) \(\[\w+\]\((\w+)#figures\)\) \|$`)
	prismaCode = regexp.MustCompile(`^ P[0-9]{4} `)
	number     = regexp.MustCompile(`[0-9]+\.[0-9]+`)
)

// The SQLSTATEs in the table of Prisma's codes have the category in their row.
func TestPrismaErrorCodes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(root + "/docs/from-prisma.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(row, "|")
		if len(cells) != 6 || !prismaCode.MatchString(cells[1]) {
			continue
		}
		rows++
		stated := map[string]bool{}
		for _, found := range category.FindAllStringSubmatch(cells[2], -1) {
			stated[found[1]] = true
		}
		for _, state := range code.FindAllString(cells[3], -1) {
			if is := pgerr.Of(&pgconn.PgError{Code: state}); !stated[string(is)] {
				t.Errorf("%s: %s has the category %s", strings.TrimSpace(cells[1]), state, is)
			}
		}
	}
	if rows != 12 {
		t.Errorf("%d rows", rows)
	}
}

// A figure in the repository's README appears in the module's README.
func TestFigures(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := figure.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 4 {
		t.Fatalf("%d figures", len(rows))
	}
	for _, row := range rows {
		module, err := os.ReadFile(filepath.Join(root, row[2], "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range number.FindAllString(row[1], -1) {
			if !strings.Contains(string(module), n) {
				t.Errorf("%s is not among the figures of %s", n, row[2])
			}
		}
	}
}
