package pgmigrate_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/page-builder/persistence/pgmigrate"
)

func TestSeed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	seeds := func(second string) []string {
		return []string{
			"10_all.sql", "insert into pages values (1, 'all') on conflict do nothing;",
			"20_more.sql", second,
			"development/10_dev.sql", "insert into pages values (100, 'dev');",
			"production/10_prod.sql", "insert into pages values (200, 'prod');",
			"notes.txt", "not sql",
		}
	}
	const good = "insert into pages values (2, 'two') on conflict (id) do update set title = excluded.title;"
	if _, err := m.Seed(t.Context(), files(seeds(good)...), ""); err == nil || !strings.Contains(err.Error(),
		"version 0 of 3: migrate up first") {
		t.Errorf("before up: %v", err)
	}
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		second, environment, want, err string
	}{
		{good, "development", "run [10_all.sql 20_more.sql development/10_dev.sql] skipped []", ""},
		{good, "development", "run [] skipped [10_all.sql 20_more.sql development/10_dev.sql]", ""},
		{good, "", "run [] skipped [10_all.sql 20_more.sql]", ""},
		{
			strings.ReplaceAll(good, "two", "edited"), "production",
			"run [20_more.sql production/10_prod.sql] skipped [10_all.sql]", "",
		},
		{
			"insert into pages values (3, 'x');\ninsert into nope values (1);", "", "run [] skipped [10_all.sql]",
			"seed 20_more.sql:2:13: ",
		},
		{"insert into pages values (3, 'x');\n\ncommit;", "", "run [] skipped []", "20_more.sql:3: commit"},
		{"\ufeffselect 1;", "", "run [] skipped []", "byte order mark"},
		{"select '\xff';", "", "run [] skipped []", "20_more.sql:1: the line is not valid UTF-8"},
		{"select 1; start transaction;", "", "run [] skipped []", "20_more.sql:1: start"},
		{"prepare transaction 'x';", "", "run [] skipped []", "20_more.sql:1: prepare"},
		{"rollback;", "", "run [] skipped []", "20_more.sql:1: rollback"},
		{good, "../x", "run [] skipped []", "letters, digits"},
		{good, "staging", "run [] skipped [10_all.sql 20_more.sql]", ""}, // an older version does not undo a newer
		{"savepoint s; insert into nope values (1);", "", "run [] skipped [10_all.sql]", `"nope" does not exist`},
		{
			"savepoint s; insert into pages values (300, 'x'); rollback to s; ;", "",
			"run [20_more.sql] skipped [10_all.sql]", "",
		},
	} {
		r, err := m.Seed(t.Context(), files(seeds(step.second)...), step.environment)
		if got := fmt.Sprintf("run %v skipped %v", r.Run, r.Skipped); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
		if (err != nil) != (step.err != "") || err != nil && !strings.Contains(err.Error(), step.err) {
			t.Errorf("step %d: got %v, want %q", i, err, step.err)
		}
	}
	if n := ask[int](t, b, "select count(*) from pages"); n != 4 {
		t.Errorf("%d pages, want 4: a failed seed has left rows", n)
	}
}

// What cannot be read runs nothing.
func TestUnreadableSeeds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "1.sql"), []byte("insert into pages values (1);"), 0o600),
		os.Symlink("nowhere", filepath.Join(dir, "2.sql")), os.WriteFile(filepath.Join(dir, "development"),
			nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		fsys        fs.FS
		environment string
		want        string
	}{
		"no file system":       {nil, "", "seed: the file system is nil"},
		"no folder":            {os.DirFS(filepath.Join(dir, "absent")), "", "seed: "},
		"file without content": {os.DirFS(dir), "", "2.sql: no such file or directory"},
		"environment is a file": {files("1.sql", "insert into pages values (1);", "development",
			""), "development", "development"},
	} {
		if r, err := m.Seed(t.Context(), test.fsys, test.environment); err == nil || !strings.Contains(err.Error(),
			test.want) || len(r.Run)+len(r.Skipped) > 0 {
			t.Errorf("%s: %+v, %v; want %q", name, r, err, test.want)
		}
	}
	if n := ask[int](t, b, "select count(*) from pages"); n != 0 {
		t.Errorf("%d pages, want none", n)
	}
}

func TestSeedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := migrator(t, b, three())
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	seeds := files("1.sql", "insert into pages values (1, 'not twice');")
	results := make([]pgmigrate.SeedResult, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = m.Seed(t.Context(), seeds, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	run := 0
	for _, r := range results {
		run += len(r.Run)
	}
	if run != 1 {
		t.Errorf("the seed ran %d times", run)
	}
}
