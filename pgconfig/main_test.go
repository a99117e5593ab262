package pgconfig_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgconfig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type env map[string]string

func load(t *testing.T, environ env, dotenv ...string) pgconfig.Config {
	t.Helper()
	cfg, err := pgconfig.LoadFrom(pgconfig.Source{Environ: environ, DotEnv: dotenv})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// refused returns the problems, one a line.
func refused(t *testing.T, src pgconfig.Source) string {
	t.Helper()
	cfg, err := pgconfig.LoadFrom(src)
	var problems *pgconfig.Error
	if !errors.As(err, &problems) {
		t.Fatalf("got %v and %v, want an *Error", cfg, err)
	}
	lines := make([]string, len(problems.Problems))
	for i, p := range problems.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// setting returns the line of the report with that key.
func setting(t *testing.T, cfg pgconfig.Config, key string) pgconfig.Setting {
	t.Helper()
	for _, s := range cfg.Report() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no %s in the report", key)
	return pgconfig.Setting{}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
