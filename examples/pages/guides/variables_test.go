package guides_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"

	"github.com/page-builder/persistence/pgconfig"
)

var (
	variable = regexp.MustCompile(`\b(?:ANALYTICS_)?(?:APP_ENV|DATABASE_[A-Z_]+|` +
		`DIRECT_[A-Z_]+|PG[A-Z]{2,}(?:_[A-Z]+)*)\b`)

	// known are variables that pgconfig does not list.
	known = []string{
		// pgtest/pgserver.
		"PGTEST_URL", "PGTEST_BINDIR", "PGTEST_VERSION", "PGTEST_ALLOW_REMOTE", "PGTEST_KEEP", "PGTEST_DOWNLOAD",
		"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSERVICE", "PGSSLMODE", // libpq
		"DIRECT_URL", // Prisma's
		"PGTX_URL",   // pgtx's tests
	}
)

func isVariable(name string) bool {
	name = strings.TrimPrefix(name, "ANALYTICS_")
	return slices.Contains(known, name) ||
		slices.ContainsFunc(pgconfig.Variables(), func(v pgconfig.Variable) bool { return v.Name == name })
}

// Every variable that a guide mentions, in prose or in a block of any kind, exists.
func TestVariablesExist(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, g := range guides(t) {
		for _, name := range variable.FindAllString(g.text, -1) {
			if seen[name] = true; !isVariable(name) {
				t.Errorf("%s: nothing reads %s", g.name, name)
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d variables found", len(seen))
	}
}

// pgconfig accepts each block of variables, except for files that are not on this machine.
func TestVariablesAreAccepted(t *testing.T) {
	t.Parallel()
	for _, g := range guides(t) {
		for _, b := range g.of("env") {
			values, err := godotenv.Unmarshal(b.text)
			if err != nil || len(values) == 0 {
				t.Errorf("%s: %d variables: %v", b, len(values), err)
				continue
			}
			for name := range values {
				if !isVariable(name) {
					t.Errorf("%s: nothing reads %s", b, name)
				}
			}
			for _, prefix := range []string{"", "ANALYTICS_"} {
				if !strings.Contains(b.text, prefix+"DATABASE_URL") {
					continue
				}
				_, err := pgconfig.LoadFrom(pgconfig.Source{Prefix: prefix, Environ: values})
				problems := (*pgconfig.Error)(nil)
				if !errors.As(err, &problems) {
					continue
				}
				for _, p := range problems.Problems {
					if !strings.Contains(p.Detail, "does not exist") {
						t.Errorf("%s: %s %s", b, p.Key, p.Detail)
					}
				}
			}
		}
	}
}
