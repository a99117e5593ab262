package pgquerytest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const schema = `
create type mood as enum ('calm', 'busy');
create table authors (id int primary key, name text not null, bio text);
create table pages (
	id       bigint generated always as identity primary key,
	site     int not null,
	title    text not null,
	mood     mood not null default 'calm',
	prio     int not null default 0,
	price    numeric not null default 0,
	due      timestamptz,
	author   int references authors,
	version  int not null default 1,
	created  timestamptz not null default now(),
	constraint title_taken unique (site, title)
);
create index pages_newest on pages (site, created desc, id desc);
create index pages_due on pages (site, due, id);
create index pages_prio on pages (site, prio, created desc, id desc);
create table tags (page bigint not null references pages, name text not null, primary key (page, name));
create view page_titles as select id, site, title, due from pages;
`

// Mood is an enum, as sqlc writes it.
type Mood string

func (m Mood) Valid() bool { return m == "calm" || m == "busy" }

type args struct {
	Site int32
	Mood *Mood
}

type row struct {
	ID      int64
	Title   string
	Prio    int32
	Due     *time.Time
	Created time.Time
}

const selected = `select p.id, p.title, p.prio, p.due, p.created from pages p`

// pages is correct; each test changes a part of it.
func pages() *pgquery.List[args, row] {
	return &pgquery.List[args, row]{
		Name:    "pages",
		Select:  selected,
		Where:   `p.site = @site`,
		Filters: pgquery.Filters{"mood": `p.mood = @mood`},
		Sorts: pgquery.Sorts{
			"newest": `created desc, id desc`,
			"due":    `due nulls last, id`,
			"prio":   `prio, created desc, id desc`,
			"title":  `title`,
		},
		Sizes: []int{20},
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	ctx    context.Context
	errors []string
	logs   []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func setup(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), pgserver.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	return pool
}

func check(t *testing.T, pool *pgxpool.Pool, d pgquerytest.Declaration) *recorder {
	r := &recorder{TB: t, ctx: t.Context()}
	pgquerytest.Check(r, pool, d)
	return r
}

func TestRight(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pgquerytest.Check(t, pool, pages(), pgquerytest.Indexed(pages(), "newest"),
		pgquerytest.Indexed(pages(), "due"), pgquerytest.Indexed(pages(), "prio", "mood"),
		pgquerytest.Indexed(pages(), "title"))
}

func wants(t *testing.T, r *recorder, text string) {
	t.Helper()
	if !strings.Contains(strings.Join(r.errors, "\n"), text) {
		t.Errorf("want %q in %q", text, r.errors)
	}
}

// A mistake is reported with the line of its element.
func TestLines(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	text, err := os.ReadFile("check_test.go")
	if err != nil {
		t.Fatal(err)
	}
	l := pages()
	l.Select = `select p.id, p.title, p.prio, p.due, p.created, 1 as x from pages p`
	l.Filters["mood"] = `p.moods = @mood`
	l.Sorts["other"] = `due`
	r := check(t, pool, l)
	for piece, declared := range map[string]string{
		"Filters[mood]": `Filters: pgquery.Filters{"mood"`, "Sorts[other]": "Sorts: pgquery",
		"Select": "Select:  selected,",
	} {
		before, _, _ := strings.Cut(string(text), declared)
		wants(t, r, fmt.Sprintf("check_test.go:%d: List pages: %s", 1+strings.Count(before, "\n"), piece))
	}
	l = pages()
	l.Sorts["title"] = `title nulls`
	before, _, _ := strings.Cut(string(text), `"title":  `)
	wants(t, check(t, pool, l), fmt.Sprintf("check_test.go:%d: List pages: Sorts[title]", 1+strings.Count(before, "\n")))
}
