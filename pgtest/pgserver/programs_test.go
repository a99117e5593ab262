package pgserver_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestPrograms(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(first, "pg_sample"), filepath.Join(second, "pg_sample")} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	third := t.TempDir()
	if err := os.Symlink(filepath.Join(first, "pg_sample"), filepath.Join(third, "pg_sample")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGTEST_BINDIR", second)
	t.Setenv("PATH", first+string(os.PathListSeparator)+third)
	want := []string{filepath.Join(second, "pg_sample"), filepath.Join(first, "pg_sample")}
	if got := pgserver.Programs("pg_sample"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := pgserver.Programs("pg_no_such_program"); len(got) != 0 {
		t.Errorf("%q, want none", got)
	}
}
