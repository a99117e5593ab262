// Package dev_test tests drift and diff on a corpus of changes with known verdicts.
package dev_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/dev/diff"
	"github.com/page-builder/persistence/pgmigrate/dev/schema"
	"github.com/page-builder/persistence/pgmigrate/dev/shadow"
)

// change is a case of testdata/changes.txt.
type change struct {
	title, sql string
	verdicts   map[string]bool
}

func (c change) expects(verdict string) bool { return c.verdicts[verdict] }

var verdicts = []string{"none", "back", "found", "breaks", "same", "round-trip", "up-only", "refused"}

// everyCase runs the whole corpus, which takes minutes, and prints which reader finds what.
const everyCase = "PGMIGRATE_CORPUS"

// some picks one case of n, unless all are asked for.
func some(corpus []change, n int) []change {
	if os.Getenv(everyCase) != "" {
		return corpus
	}
	var picked []change
	for i := 0; i < len(corpus); i += n {
		picked = append(picked, corpus[i])
	}
	return picked
}

func readCorpus(t *testing.T) []change {
	t.Helper()
	text, err := os.ReadFile("testdata/changes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var corpus []change
	for _, part := range strings.Split(string(text), "\n== ")[1:] {
		head, sql, _ := strings.Cut(part, "\n")
		title, words, ok := strings.Cut(head, ": ")
		if !ok {
			t.Fatalf("%q has no verdict", head)
		}
		c := change{title: title, sql: sql, verdicts: map[string]bool{}}
		for _, w := range strings.Fields(words) {
			c.verdicts[w] = true
		}
		for w := range c.verdicts {
			if !strings.Contains(strings.Join(verdicts, " "), w) {
				t.Fatalf("%s: unknown verdict %q", title, w)
			}
		}
		corpus = append(corpus, c)
	}
	return corpus
}

// bench is a shadow with testdata/base.sql. Every case gets copies of it. No session connects to
// the template: base is a copy.
type bench struct{ template, base *shadow.DB }

func baseFolder(t *testing.T) fstest.MapFS {
	t.Helper()
	text, err := os.ReadFile("testdata/base.sql")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"001_base.sql": &fstest.MapFile{Data: text}}
}

func setup(t *testing.T) *bench {
	t.Helper()
	db, err := shadow.Open(t.Context(), shadow.Options{Migrations: baseFolder(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bench{template: db}
	b.base = b.copy(t)
	return b
}

func (b *bench) copy(t *testing.T) *shadow.DB {
	t.Helper()
	db, err := b.template.Clone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// run sends statements one by one, as psql does: some do not bear company.
func run(t *testing.T, db *shadow.DB, statements ...string) error {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), db.Config())
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "23505" {
			continue // a concurrent build that finds duplicates leaves its index
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func config(t *testing.T, url string) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal("parse the address")
	}
	return cfg
}

func compare(t *testing.T, from, to *shadow.DB) *schema.Difference {
	t.Helper()
	d, err := schema.Compare(t.Context(), schema.Database{Config: from.Config()}, schema.Database{Config: to.Config()},
		schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDriftCorpus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range some(readCorpus(t), 12) {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			live := b.copy(t)
			if err := run(t, live, pgmigrate.Statements(c.sql)...); err != nil {
				t.Fatal(err)
			}
			d := compare(t, live, b.base)
			if d.Empty() != c.expects("none") {
				t.Fatalf("found %v", d.Objects)
			}
			if d.Empty() {
				return
			}
			for round := 1; ; round++ {
				plan := d.Plan()
				if len(plan.Unexpressed) > 0 {
					if !c.expects("found") {
						t.Errorf("no statement for %v", plan.Unexpressed)
					}
					return
				}
				var sql []string
				for _, s := range plan.Statements {
					sql = append(sql, s.SQL)
				}
				if err := run(t, live, sql...); err != nil {
					if c.expects("breaks") {
						return
					}
					t.Fatalf("%v in\n%s", err, strings.Join(sql, ";\n"))
				}
				if d = compare(t, live, b.base); d.Empty() {
					break
				}
				if round == 2 {
					t.Fatalf("still different: %v", d.Objects)
				}
			}
			if !c.expects("back") {
				t.Error("its SQL made it undone, which was not expected")
			}
		})
	}
}

func TestDiffCorpus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range some(readCorpus(t), 30) {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			wanted := b.copy(t)
			if err := run(t, wanted, pgmigrate.Statements(c.sql)...); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := schema.Pull(t.Context(), &text, wanted.Config(), schema.Options{}); err != nil {
				t.Fatal(err)
			}
			result, err := diff.Make(t.Context(), baseFolder(t), text.String(), "change", diff.Options{})
			got := "round-trip"
			switch {
			case err != nil:
				got = "refused"
			case len(result.Files) == 0:
				got = "same"
			}
			if err == nil {
				for _, f := range result.Files {
					if strings.Contains(f.Content, "This cannot be rolled back") {
						got = "up-only"
					}
					if testing.Verbose() {
						t.Logf("%s\n%s", f.Name, f.Content)
					}
				}
			}
			if !c.expects(got) {
				t.Errorf("%s: %v", got, err)
			}
		})
	}
}
