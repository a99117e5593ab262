package pgmigrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgmigrate"
)

// One folder per kind of bad input; what is expected is the kind and place of every problem.
var badFolders = map[string][]string{
	"copy": {"copy 001_a.sql:2", "copy 002_b.sql:2"},
	"psql": {"psql 001_a.sql:3", "psql 001_a.sql:6"},
	"unclosed": {
		"unclosed 001_a.sql:2", "unclosed 002_b.sql:3", "unclosed 003_c.sql:3", "unclosed 004_d.sql:2",
	},
	"bom":           {"byte order mark 001_a.sql:1"},
	"date":          {"number too large 20260101_a.sql:0"},
	"duplicate":     {"duplicate 2_c.sql:0"},
	"empty_file":    {"empty up section 002_b.sql:1"},
	"empty_up":      {"empty up section 001_a.sql:2"},
	"gap":           {"gap 003_c.sql:0", "gap 007_g.sql:0"},
	"huge":          {"number too large 2000000_b.sql:0"},
	"latin1":        {"encoding 001_a.sql:2"},
	"no_migrations": {"no migrations .:0"},
	"nul_byte":      {"encoding 001_a.sql:3"},
	"overflow":      {"number too large 99999999999999999999_a.sql:0"},
	"several": {
		"number zero 0000_c.sql:0", "byte order mark 001_a.sql:1", "empty up section 003_b.sql:1", "gap 003_b.sql:0",
	},
	"shared_template": {"template shared/t.sql:2"},
	"subfolder":       {"no migrations .:0"},
	"template":        {"template 001_a.sql:5", "template 002_b.sql:1"},
	"timestamp":       {"number too large 20260101120000_a.sql:0"},
	"utf16":           {"byte order mark 001_a.sql:1"},
	"zero":            {"number zero 0000_a.sql:0"},
}

// What tern would run, but differently from what the file says: errors under WithStrict.
var doubtfulFolders = map[string][]string{
	"begin_atomic":          {"atomic body 001_a.sql:4"},
	"commit_inside":         {"transaction 001_a.sql:4", "transaction 001_a.sql:13"},
	"ignored":               {"ignored 002-b.sql:0", "ignored notes.SQL:0"},
	"almost_disable_tx":     {"marker 001_a.sql:2", "marker 001_a.sql:6", "marker 001_a.sql:8"},
	"almost_section":        {"marker 001_a.sql:2"},
	"crlf_disable_tx":       {"marker 002_b.sql:1"},
	"missing_value":         {"template 001_a.sql:3"},
	"replacement_character": {"encoding 001_a.sql:3"},
}

var goodFolders = []string{"tern"}

func TestBadFolders(t *testing.T) {
	t.Parallel()
	for name, want := range badFolders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := pgmigrate.Check(os.DirFS(filepath.Join("testdata", name)))
			checkProblems(t, err, want, false)
		})
	}
}

func TestDoubtfulFolders(t *testing.T) {
	t.Parallel()
	for name, want := range doubtfulFolders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := os.DirFS(filepath.Join("testdata", name))
			m, err := pgmigrate.New(&pgx.ConnConfig{}, folder, pgmigrate.WithLogger(nil))
			if err != nil {
				t.Fatalf("tern would run it: %v", err)
			}
			checkProblems(t, &pgmigrate.FolderError{Problems: m.Warnings()}, want, true)
			_, err = pgmigrate.Check(folder, pgmigrate.WithStrict())
			checkProblems(t, err, want, true)
		})
	}
}

func checkProblems(t *testing.T, err error, want []string, warnings bool) {
	t.Helper()
	var folderErr *pgmigrate.FolderError
	if !errors.As(err, &folderErr) {
		t.Fatalf("%v is no FolderError", err)
	}
	var got []string
	for _, p := range folderErr.Problems {
		got = append(got, fmt.Sprintf("%s %s:%d", p.Kind, p.File, p.Line))
		if p.Detail == "" || p.Hint == "" {
			t.Errorf("%+v says not what is wrong, or not what to do", p)
		}
		if p.Warning != warnings {
			t.Errorf("%+v: is it a warning?", p)
		}
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\n%v", got, want, err)
	}
	if strings.Contains(err.Error(), "isolated-by-pgmigrate") {
		t.Errorf("%v shows a name that is not in the folder", err)
	}
	t.Log(err)
}

func TestEveryFolderIsTested(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if badFolders[e.Name()] == nil && doubtfulFolders[e.Name()] == nil && !slices.Contains(goodFolders, e.Name()) {
			t.Errorf("testdata/%s has no expectation", e.Name())
		}
	}
}

func TestMissingFolder(t *testing.T) {
	t.Parallel()
	_, err := pgmigrate.Check(os.DirFS(filepath.Join(t.TempDir(), "absent")))
	var folderErr *pgmigrate.FolderError
	if !errors.As(err, &folderErr) || folderErr.Problems[0].Kind != pgmigrate.ProblemUnreadable {
		t.Errorf("got %v", err)
	}
	if _, err := pgmigrate.Check(nil); !errors.As(err, &folderErr) {
		t.Errorf("nil file system: got %v", err)
	}
}

// A file that cannot be read is one problem among the others.
func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "1_a.sql"), []byte("-- nothing"), 0o600),
		os.Symlink("nowhere", filepath.Join(dir, "2_b.sql"))); err != nil {
		t.Fatal(err)
	}
	_, err := pgmigrate.Check(os.DirFS(dir))
	var wrong *pgmigrate.FolderError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 2 || wrong.Problems[0].File != "1_a.sql" ||
		wrong.Problems[1].Kind != pgmigrate.ProblemUnreadable {
		t.Fatalf("got %v", err)
	}
	if text := wrong.Problems[1].String(); text != "2_b.sql: open 2_b.sql: no such file or directory" &&
		!strings.HasSuffix(text, "2_b.sql: no such file or directory") {
		t.Errorf("got %q", text)
	}
	if _, err := pgmigrate.New(setup(t).config, os.DirFS(dir)); !errors.As(err, &wrong) {
		t.Errorf("New: got %v", err)
	}
}

func TestIgnoredFilesAreWarnings(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg, err := pgx.ParseConfig("host=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := pgmigrate.New(cfg, os.DirFS("testdata/ignored"),
		pgmigrate.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Migrations()); n != 1 {
		t.Errorf("%d migrations, want 1", n)
	}
	for _, name := range []string{"002-b.sql", "notes.SQL"} {
		if !strings.Contains(log.String(), "file="+name) {
			t.Errorf("no warning about %s in %q", name, log.String())
		}
	}
	if strings.Contains(log.String(), "README") {
		t.Errorf("a warning about a file that is not SQL in %q", log.String())
	}
}

func TestCheckReturnsMigrations(t *testing.T) {
	t.Parallel()
	got, err := pgmigrate.Check(os.DirFS("testdata/tern"), pgmigrate.WithData(map[string]any{"prefix": "x_"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[1].Name != "002_t2.sql" || got[1].Up != "create table x_t2 (id serial primary key);\n" {
		t.Errorf("got %+v", got)
	}
	if !got[1].Transactional(pgmigrate.DirectionUp) || got[2].Transactional(pgmigrate.DirectionUp) ||
		!got[2].Reversible() {
		t.Errorf("got %+v", got)
	}
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig("host=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	sum := func(prefix, table string) string {
		m, err := pgmigrate.New(cfg, os.DirFS("testdata/tern"),
			pgmigrate.WithData(map[string]any{"prefix": prefix}), pgmigrate.WithVersionTable(table))
		if err != nil {
			t.Fatal(err)
		}
		return m.Checksum()
	}
	a := sum("a_", "public.v")
	if a != sum("a_", "public.v") {
		t.Error("the checksum is not stable")
	}
	if a == sum("b_", "public.v") {
		t.Error("an edit inside a shared template's output does not change the checksum")
	}
	if a == sum("a_", "public.w") {
		t.Error("another version table does not change the checksum")
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig("host=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []pgmigrate.Option{
		pgmigrate.WithVersionTable(""),
		pgmigrate.WithVersionTable("schema_version"),
		pgmigrate.WithVersionTable(`"Quoted".v`),
		pgmigrate.WithVersionTable("v; drop table v"),
		pgmigrate.WithVersionTable("a.b.c"),
		pgmigrate.WithHistorySchema("pg_x"),
		pgmigrate.WithHistorySchema("x; drop schema y"),
		pgmigrate.WithProgressInterval(0),
	} {
		if _, err := pgmigrate.New(cfg, three(), opt); err == nil {
			t.Error("a bad option was accepted")
		}
	}
	if _, err := pgmigrate.New(nil, three()); err == nil {
		t.Error("a nil connection configuration was accepted")
	}
}
