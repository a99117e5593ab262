package citus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/lab/cluster/citus"
	"github.com/page-builder/persistence/pghealth"
	"github.com/page-builder/persistence/pgmigrate"
	"github.com/page-builder/persistence/pgmigrate/backfill"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
	"github.com/page-builder/persistence/pgtx"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

var (
	folder = fstest.MapFS{
		"001_pages.sql": file(`create table sites (id int primary key, name text not null);
create table pages (
  site_id int not null references sites (id), id int not null, title text not null, version int not null default 1,
  primary key (site_id, id)
);
create table blocks (site_id int not null, page_id int not null, position int not null,
  primary key (site_id, page_id, position));
select create_reference_table('sites');
select create_distributed_table('pages', 'site_id');
select create_distributed_table('blocks', 'site_id', colocate_with => 'pages');
---- create above / drop below ----
drop table blocks, pages;
drop table sites;
`),
		"002_index.sql": file(`---- tern: disable-tx ----
create index concurrently pages_title on pages (title);
---- create above / drop below ----
drop index concurrently pages_title;
`),
		"003_heading.sql": file(`alter table pages add column heading text, add column note text;
create index pages_heading on pages (heading);
---- create above / drop below ----
drop index pages_heading;
alter table pages drop column heading;
alter table pages drop column note;
`),
	}
	backfills = fstest.MapFS{"heading.sql": file(`-- pgmigrate:backfill table=public.pages key=site_id,id
update pages set heading = title where (site_id, id) between ($1, $2) and ($3, $4);

-- pgmigrate:verify
select count(*) from pages where heading is distinct from title;
`)}
)

type (
	pageArgs struct {
		Site  int32
		Title *string
	}
	page struct {
		SiteID, ID int32
		Title      string
		Blocks     []block `db:"-"`
	}
	block   struct{ PageID, Position int32 }
	newPage struct {
		SiteID, ID int32
		Title      string
	}
	pagePatch struct {
		SiteID, ID, Version int32
		Title               pgquery.Optional[string] `db:"title,notnull"`
	}
	patched struct {
		ID      int32
		Title   string
		Version int32
	}
)

var (
	pages = pgquery.List[pageArgs, page]{
		Name: "pages", Select: `select p.site_id, p.id, p.title from pages p`, Where: `p.site_id = @site`,
		Filters: pgquery.Filters{"title": `p.title like @title`},
		Sorts:   pgquery.Sorts{"title": `title desc, site_id, id`}, Sizes: []int{7},
	}
	insertPages = pgquery.Insert[newPage, patched]{
		Name: "insert_pages", Table: "pages", Columns: "site_id int, id int, title text",
		Conflict:  "(site_id, id) do update set title = excluded.title",
		Returning: "id, title, version",
	}
	patchPage = pgquery.Patch[pagePatch, patched]{
		Name: "patch_page", Table: "pages", Where: "site_id = @site_id and id = @id", Columns: []string{"title"},
		Version: "version", Returning: "id, title, version",
	}
	blocks = pgquery.Relation[page, block, int32]{
		Name: "blocks", Select: `select b.page_id, b.position from blocks b`, Key: "b.page_id", Order: "page_id, position",
		Parent: func(p *page) (int32, bool) { return p.ID, true },
		Child:  func(b *block) int32 { return b.PageID },
		Assign: func(p *page, all []block) { p.Blocks = all },
	}
)

// The modules work on distributed tables as they do on a single server.
func TestModules(t *testing.T) {
	t.Parallel()
	coordinator, workers, err := citus.Start(t)
	if errors.Is(err, citus.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	conn, err := pgx.ParseConfig(coordinator.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pgxpool.ParseConfig(coordinator.URL())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgpool.ConnectConfig(ctx, cfg, pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if !t.Run("pgmigrate", func(t *testing.T) { testMigrations(t, conn, pool) }) {
		return
	}
	t.Run("pgquery", func(t *testing.T) { testQueries(t, pool) })
	t.Run("backfill", func(t *testing.T) { testBackfill(t, conn, pool) })
	t.Run("pgtx with settings and a key", func(t *testing.T) { testTransactions(t, pool) })
	t.Run("pghealth while a worker is gone", func(t *testing.T) {
		probe, err := pghealth.New(pool, pghealth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(probe.Close)
		workers[0].Kill(t)
		recorder := httptest.NewRecorder()
		probe.Ready().ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
		workers[0].Start(t)
		if recorder.Code != http.StatusOK {
			t.Errorf("%d %s", recorder.Code, recorder.Body)
		}
	})
}

func testMigrations(t *testing.T, conn *pgx.ConnConfig, pool *pgxpool.Pool) {
	m, err := pgmigrate.New(conn, folder, pgmigrate.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) (pgmigrate.Result, error)
	}{{"up", m.Up}, {"down", m.Down}, {"up", m.Up}} {
		if _, err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	var shards, nodes int
	if err := pool.QueryRow(t.Context(), `select count(*), count(distinct nodeport) from citus_shards
		where table_name = 'pages'::regclass`).Scan(&shards, &nodes); err != nil || shards < 2 || nodes != 2 {
		t.Fatalf("%d shards on %d nodes, %v", shards, nodes, err)
	}
}

func testQueries(t *testing.T, pool *pgxpool.Pool) {
	ctx := t.Context()
	var rows []newPage
	for i := range int32(400) {
		rows = append(rows, newPage{SiteID: i%4 + 1, ID: i, Title: fmt.Sprintf("page %03d", i)})
	}
	if _, err := pool.Exec(ctx, `insert into sites select g, 'site' from generate_series(1, 4) g`); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, an upsert
		if got, err := insertPages.Apply(ctx, pool, rows); err != nil || len(got) != len(rows) {
			t.Fatalf("%d rows, %v", len(got), err)
		}
	}
	if _, err := pool.Exec(ctx, `insert into blocks select site_id, id, p from pages, generate_series(1, 2) p`); err != nil {
		t.Fatal(err)
	}
	pgquerytest.Check(t, pool, &pages, &insertPages, &patchPage, &blocks)
	like := "page 1%"
	var found []page
	for p, err := range pages.All(ctx, pool, pageArgs{Site: 3, Title: &like}, pgquery.At{Sort: "title"}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	if len(found) != 25 || !slices.IsSortedFunc(found, func(a, b page) int { return int(b.ID - a.ID) }) {
		t.Errorf("%d pages: %v", len(found), found)
	}
	if err := pgquery.Load(ctx, pool, found, &blocks); err != nil {
		t.Fatal(err)
	}
	for _, p := range found {
		if len(p.Blocks) != 2 {
			t.Errorf("%+v", p)
		}
	}
	got, err := patchPage.Apply(ctx, pool, pagePatch{SiteID: 1, ID: 0, Version: 1, Title: pgquery.Value("home")})
	if err != nil || got.Title != "home" || got.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	var changed *pgquery.ChangedError
	_, err = patchPage.Apply(ctx, pool, pagePatch{SiteID: 1, ID: 0, Version: 1, Title: pgquery.Value("again")})
	if !errors.As(err, &changed) {
		t.Errorf("the old version: %v", err)
	}
}

func testBackfill(t *testing.T, conn *pgx.ConnConfig, pool *pgxpool.Pool) {
	r, err := backfill.New(conn, backfills, backfill.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), "heading"); err != nil {
		t.Fatal(err)
	}
	var done int
	if err := pool.QueryRow(t.Context(), `select count(*) from pages where heading = title`).Scan(&done); err != nil ||
		done != 400 {
		t.Errorf("%d rows, %v", done, err)
	}
}

func testTransactions(t *testing.T, pool *pgxpool.Pool) {
	ctx := t.Context()
	if _, err := pool.Exec(ctx, pgtx.IdempotencyTableSQL); err != nil {
		t.Fatal(err)
	}
	runs := 0
	for range 2 {
		err := pgtx.RunWith(ctx, pool, pgtx.Options{
			IdempotencyKey: "order 1", VerifyCommit: true, Settings: map[string]string{"app.site": "1"},
		}, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			for site := range int32(4) {
				if _, err := tx.Exec(ctx, `update pages set title = 'sold' where site_id = $1`, site+1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var sold int
	if err := pool.QueryRow(ctx, `select count(*) from pages where title = 'sold'`).Scan(&sold); err != nil ||
		sold != 400 || runs != 1 {
		t.Errorf("%d rows, %d runs, %v", sold, runs, err)
	}
}
