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

// One folder per kind of bad input, with the place of each problem and a part of its text.
var badFolders = map[string][]string{
	"copy": {"001_a.sql:2 COPY", "002_b.sql:2 COPY"},
	"psql": {"001_a.sql:3 psql", "001_a.sql:6 psql"},
	"unclosed": {
		"001_a.sql:2 has no end", "002_b.sql:3 has no end", "003_c.sql:3 has no end", "004_d.sql:2 has no end",
	},
	"bom":           {"001_a.sql:1 byte order mark"},
	"date":          {"20260101_a.sql:0 number "},
	"duplicate":     {"2_c.sql:0 has the number 2 too"},
	"empty_file":    {"002_b.sql:1 no SQL"},
	"empty_up":      {"001_a.sql:2 no SQL"},
	"gap":           {"003_c.sql:0 missing before it", "007_g.sql:0 missing before it"},
	"huge":          {"2000000_b.sql:0 number "},
	"latin1":        {"001_a.sql:2 the line"},
	"no_migrations": {".:0 no migrations found"},
	"nul_byte":      {"001_a.sql:3 the line"},
	"overflow":      {"99999999999999999999_a.sql:0 number "},
	"several": {
		"0000_c.sql:0 number 0", "001_a.sql:1 byte order mark", "003_b.sql:1 no SQL", "003_b.sql:0 missing before it",
	},
	"shared_template":    {"shared/t.sql:2"},
	"subfolder":          {".:0 no migrations found"},
	"template":           {"001_a.sql:5"},
	"template_execution": {"001_a.sql:1"},
	"timestamp":          {"20260101120000_a.sql:0 number "},
	"utf16":              {"001_a.sql:1 UTF-16"},
	"zero":               {"0000_a.sql:0 number 0"},
}

// What tern would run, but differently from what the file says: errors under WithStrict.
var doubtfulFolders = map[string][]string{
	"commit_inside":     {"001_a.sql:4", "001_a.sql:13"},
	"ignored":           {"002-b.sql:0 ignored", "notes.SQL:0 ignored"},
	"almost_disable_tx": {"001_a.sql:2 marker", "001_a.sql:6 marker", "001_a.sql:8 marker"},
	"almost_section":    {"001_a.sql:2 marker"},
	"crlf_disable_tx":   {"002_b.sql:1 marker"},
	"missing_value":     {"001_a.sql:3"},
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
	if len(folderErr.Problems) != len(want) {
		t.Errorf("%d problems, want %q\n%v", len(folderErr.Problems), want, err)
	}
	for _, p := range folderErr.Problems {
		if p.Detail == "" || p.Hint == "" {
			t.Errorf("%+v does not say what is wrong, or what to do", p)
		}
		if p.Warning != warnings {
			t.Errorf("%+v: is it a warning?", p)
		}
		place := fmt.Sprintf("%s:%d", p.File, p.Line)
		if !slices.ContainsFunc(want, func(w string) bool {
			at, text, _ := strings.Cut(w, " ")
			return at == place && strings.Contains(p.Detail, text)
		}) {
			t.Errorf("%v is not in %q", p, want)
		}
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
	if !errors.As(err, &folderErr) || folderErr.Problems[0].Hint != "does the folder exist?" {
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
	if !errors.As(err, &wrong) || len(wrong.Problems) != 2 || wrong.Problems[0].File != "1_a.sql" {
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
	} {
		if _, err := pgmigrate.New(cfg, three(), opt); err == nil {
			t.Error("a bad option was accepted")
		}
	}
	if _, err := pgmigrate.New(nil, three()); err == nil {
		t.Error("a nil connection configuration was accepted")
	}
}
