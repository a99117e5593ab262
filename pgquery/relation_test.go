package pgquery_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
)

type parent struct {
	ID       int32
	Name     string
	Pages    []child
	Top      *child
	Namesake []person
}

type child struct {
	ID     int64
	Author int32
	Title  string
	Tags   []tag
	By     *person
}

type childRow struct {
	ID     int64
	Author int32
	Title  string
	Tags   []tag   `db:"-"`
	By     *person `db:"-"`
}

type tag struct {
	Page int64
	Name string
}

type person struct {
	ID   int32
	Name string
}

func relations() (pages, top *pgquery.Relation[parent, childRow, int32], namesakes *pgquery.Relation[parent, person,
	string],
) {
	authors := &pgquery.Relation[childRow, person, int32]{ // many to one
		Name: "authors_of_pages", Select: "select a.id, a.name from authors a", Key: "a.id", Order: "id",
		Parent: func(c *childRow) (int32, bool) { return c.Author, true }, Child: func(p *person) int32 { return p.ID },
		Assign: func(c *childRow, all []person) {
			if len(all) > 0 {
				c.By = &all[0]
			}
		},
	}
	tags := &pgquery.Relation[childRow, tag, int64]{ // many to many
		Name: "tags_of_pages", Select: "select l.page, t.name from tag_links l join tag_names t on t.id = l.tag",
		Key: "l.page", Order: "name desc",
		Parent: func(c *childRow) (int64, bool) { return c.ID, true }, Child: func(t *tag) int64 { return t.Page },
		Assign: func(c *childRow, all []tag) { c.Tags = all },
	}
	of := func(c childRow) child { return child(c) }
	pages = &pgquery.Relation[parent, childRow, int32]{ // one to many
		Name: "pages_of_authors", Select: "select p.id, p.author, p.title from pages p", Key: "p.author",
		Where:  "p.state = 'live'",
		Order:  "id desc",
		Parent: func(p *parent) (int32, bool) { return p.ID, p.ID != 5 },
		Child:  func(c *childRow) int32 { return c.Author },
		Assign: func(p *parent, all []childRow) {
			p.Pages = []child{}
			for _, c := range all {
				p.Pages = append(p.Pages, of(c))
			}
		},
		Then: []pgquery.Loader[childRow]{tags, authors},
	}
	top = &pgquery.Relation[parent, childRow, int32]{ // one to one
		Name: "top_of_authors", Select: "select p.id, p.author, p.title from pages p", Key: "p.author",
		Order: "title desc, id", Limit: 1,
		Parent: func(p *parent) (int32, bool) { return p.ID, true }, Child: func(c *childRow) int32 { return c.Author },
		Assign: func(p *parent, all []childRow) {
			if len(all) > 0 {
				c := of(all[0])
				p.Top = &c
			}
		},
	}
	namesakes = &pgquery.Relation[parent, person, string]{
		Name: "namesakes", Select: "select a.id, a.name from authors a", Key: "a.name", Order: "id",
		Parent: func(p *parent) (string, bool) { return p.Name, true }, Child: func(p *person) string { return p.Name },
		Assign: func(p *parent, all []person) { p.Namesake = all },
	}
	return pages, top, namesakes
}

// batches counts round trips.
type batches struct {
	pgquery.Batcher
	sizes []int
}

func (b *batches) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	b.sizes = append(b.sizes, batch.Len())
	return b.Batcher.SendBatch(ctx, batch)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(),
		`create table tag_names (id int primary key, name text not null); insert into tag_names values (1, 'a'), (2,
			'b');
		create table tag_links (page bigint not null, tag int not null, primary key (page, tag));
		insert into tag_links select id, 1 from pages where author = 1 union all select id, 2 from pages where author
			< 3`)
	if err != nil {
		t.Fatal(err)
	}
	pages, top, namesakes := relations()
	pgquerytest.Check(t, pool, pages, top, namesakes, pages.Then[0].(pgquerytest.Declaration),
		pages.Then[1].(pgquerytest.Declaration))
	parents := []parent{{ID: 1, Name: "author 1"}, {ID: 2, Name: "x"}, {ID: 5, Name: "author 5"}, {
		ID:   3,
		Name: "author 1",
	}, {ID: 1, Name: "author 4"}}
	db := &batches{Batcher: pool}
	if err := pgquery.Load(t.Context(), db, parents, pages, top, namesakes); err != nil {
		t.Fatal(err)
	}
	if len(db.sizes) != 2 || db.sizes[0] != 3 || db.sizes[1] != 2 {
		t.Errorf("batches of %v", db.sizes)
	}
	for _, p := range parents {
		var want []int64
		err := pool.QueryRow(t.Context(),
			"select coalesce(array_agg(id order by id desc), '{}') from pages where author = $1 and state = 'live' "+
				"and $1 <> 5", p.ID).Scan(&want)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Pages) != len(want) || p.ID != 5 && len(want) == 0 || p.Pages == nil {
			t.Errorf("author %d: %d pages, want %d", p.ID, len(p.Pages), len(want))
			continue
		}
		for i, c := range p.Pages {
			if c.ID != want[i] || c.Author != p.ID || c.By == nil || c.By.ID != p.ID {
				t.Errorf("author %d: page %+v at %d, want %d", p.ID, c, i, want[i])
			}
			if names := map[int32]string{1: "b a", 2: "b", 3: ""}[p.ID]; tagNames(c.Tags) != names {
				t.Errorf("author %d: tags %v, want %s", p.ID, c.Tags, names)
			}
		}
		var best *string
		if err := pool.QueryRow(t.Context(), "select max(title) from pages where author = $1",
			p.ID).Scan(&best); err != nil {
			t.Fatal(err)
		}
		if (best == nil) != (p.Top == nil) || best != nil && p.Top.Title != *best {
			t.Errorf("author %d: top %+v", p.ID, p.Top)
		}
	}
	if len(parents[0].Namesake) != 1 || len(parents[3].Namesake) != 1 || parents[3].Namesake[0].ID != 1 ||
		len(parents[1].Namesake) != 0 {
		t.Errorf("namesakes: %+v", parents)
	}
	if err := pgquery.Load(t.Context(), db, []parent{}, pages); err != nil || len(db.sizes) != 2 {
		t.Errorf("without parents: %v, batches of %v", err, db.sizes)
	}
}

func tagNames(tags []tag) string {
	var names []string
	for _, t := range tags {
		names = append(names, t.Name)
	}
	return strings.Join(names, " ")
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages, top, namesakes := relations() // without tables of tags
	parents := []parent{{ID: 1, Name: "author 1"}}
	err := pgquery.Load(t.Context(), pool, parents, top, pages)
	if err == nil || !strings.Contains(err.Error(), "relation tags_of_pages: ") && !strings.Contains(err.Error(),
		"tag_links") || parents[0].Top != nil {
		t.Errorf("%v, %+v", err, parents)
	}
	var wrong *pgquery.ArgumentError
	if err := pgquery.Load(t.Context(), pool, []parent{{Name: "\x00"}}, namesakes); !errors.As(err, &wrong) {
		t.Error(err)
	}
	for want, change := range map[string]func(*pgquery.Relation[parent, childRow, int32]){
		"Name: must be":             func(r *pgquery.Relation[parent, childRow, int32]) { r.Name = "" },
		"Select: has a where":       func(r *pgquery.Relation[parent, childRow, int32]) { r.Select += " where true" },
		"Key: the text is empty":    func(r *pgquery.Relation[parent, childRow, int32]) { r.Key = "" },
		"Where: @site has no field": func(r *pgquery.Relation[parent, childRow, int32]) { r.Where = "p.site = @site" },
		"Order: column x is":        func(r *pgquery.Relation[parent, childRow, int32]) { r.Order = "x" },
		"Limit: is negative":        func(r *pgquery.Relation[parent, childRow, int32]) { r.Limit = -1 },
		"functions: Parent, Child":  func(r *pgquery.Relation[parent, childRow, int32]) { r.Assign = nil },
	} {
		r, _, _ := relations()
		change(r)
		wantsDeclarationError(t, pgquery.Load(t.Context(), pool, parents, r), want)
		if len(r.Declaration().Problems) == 0 {
			t.Error(want)
		}
	}
	odd := &pgquery.Relation[parent, int, float64]{Name: "odd", Select: "select 1", Key: "1", Order: "x"}
	err = pgquery.Load(t.Context(), pool, parents, odd)
	wantsDeclarationError(t, err, "row: int is not a struct")
	wantsDeclarationError(t, err, "key: float64 is not an integer")
	// A relation of a relation is checked before anything of its level is sent.
	pages.Then = []pgquery.Loader[childRow]{&pgquery.Relation[childRow, tag, int64]{Name: "bad"}}
	wantsDeclarationError(t, pgquery.Load(t.Context(), pool, parents, pages), "Select: the text is empty")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pgquery.Load(canceled, pool, parents, top); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	live := "live"
	db := &recording{DB: pool}
	if n, err := newPages().Count(t.Context(), db, pageArgs{Site: 1, State: &live}); err != nil || n != 30 {
		t.Errorf("%d, %v", n, err)
	}
	if !strings.HasPrefix(db.texts[0], "-- name: pages_count :one\n") {
		t.Error(db.texts)
	}
	bad := "\x00"
	if _, err := newPages().Count(t.Context(), nothing{t}, pageArgs{Site: 1, State: &bad}); err == nil {
		t.Error("a NUL was sent")
	}
	broken := newPages()
	broken.Sizes = nil
	_, err := broken.Count(t.Context(), nothing{t}, pageArgs{Site: 1})
	wantsDeclarationError(t, err, "Sizes")
	failing := newPages()
	failing.Where = "p.site / (p.site - p.site) = @site"
	if _, err := failing.Count(t.Context(), pool, pageArgs{Site: 1}); err == nil || !strings.Contains(err.Error(),
		"list pages: count: ") {
		t.Error(err)
	}
	if _, err := newPages().Count(t.Context(), canned{}, pageArgs{Site: 1}); err == nil ||
		!strings.Contains(err.Error(), "canned") {
		t.Error(err)
	}
}

// If the server returns a child that matches no parent in Go, that is an error, not a missing
// child.
func TestStrangeKeys(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `
		create collation same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		create table strange (id bigint, c text collate same, b char(4));
		insert into strange values (1, 'AB', 'ab'), (2, 'ab', 'cd')`); err != nil {
		t.Fatal(err)
	}
	type one struct {
		Key string
		All []strangeRow
	}
	for _, key := range []string{"c", "b"} {
		parents := []one{{Key: "ab"}}
		err := pgquery.Load(t.Context(), pool, parents, &pgquery.Relation[one, strangeRow, string]{
			Name: "strange", Select: "select id, " + key + " as key from strange", Key: key, Order: "id",
			Parent: func(o *one) (string, bool) { return o.Key, true },
			Child:  func(r *strangeRow) string { return r.Key },
			Assign: func(o *one, all []strangeRow) { o.All = all },
		})
		if err == nil || !strings.Contains(err.Error(), "relation strange: a child has the key of no parent") {
			t.Errorf("%s: %v, %+v", key, err, parents)
		}
	}
	// Parents share a child, and neither can write into the other's slice.
	parents := []one{{Key: "AB"}, {Key: "AB"}}
	err := pgquery.Load(t.Context(), pool, parents, &pgquery.Relation[one, strangeRow, string]{
		Name: "same", Select: "select id, b as key from strange", Key: "upper(b)", Order: "id",
		Parent: func(o *one) (string, bool) { return o.Key, true },
		Child:  func(r *strangeRow) string { return strings.ToUpper(strings.TrimSpace(r.Key)) },
		Assign: func(o *one, all []strangeRow) { o.All = all },
	})
	if err != nil || len(parents[0].All) != 1 || cap(parents[0].All) != 1 {
		t.Errorf("%v, %+v", err, parents)
	}
}

type strangeRow struct {
	ID  int64
	Key string
}

// More parents than a statement may have parameters fit into one array.
func TestManyParents(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, top, _ := relations()
	parents := make([]parent, 70_000)
	for i := range parents {
		parents[i].ID = int32(i)
	}
	err := pgquery.Load(t.Context(), pool, parents, top)
	if err != nil || parents[1].Top == nil || parents[9].Top != nil {
		t.Errorf("%v, %+v", err, parents[:3])
	}
}

// The names that a limit adds to the statement never collide with the declaration's tables and
// columns.
func TestRelationNames(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `create table kv (id int primary key, page int not null, key int not null,
		nth int not null); insert into kv select i, i / 3 * 10, i, -i from generate_series(3, 11) i`); err != nil {
		t.Fatal(err)
	}
	type child struct{ ID, Page, Key, Nth int32 }
	type one struct {
		ID  int32
		All []child
	}
	for _, alias := range []string{"k", "r", "q", "x", `"pgquery"`} {
		parents := []one{{ID: 10}, {ID: 20}, {ID: 30}}
		r := &pgquery.Relation[one, child, int32]{
			Name: "kv", Select: "select " + alias + ".* from kv " + alias, Key: alias + ".page", Order: "nth", Limit: 2, Parent: func(o *one) (int32, bool) { return o.ID, true },
			Child:  func(c *child) int32 { return c.Page },
			Assign: func(o *one, all []child) { o.All = all },
		}
		pgquerytest.Check(t, pool, r)
		if err := pgquery.Load(t.Context(), pool, parents, r); err != nil {
			t.Errorf("%s: %v", alias, err)
		}
		for _, p := range parents {
			if len(p.All) != 2 || p.All[0].ID != p.ID/10*3+2 || p.All[1].ID != p.ID/10*3+1 {
				t.Errorf("%s: %+v", alias, p)
			}
		}
	}
	taken := &pgquery.Relation[one, child, int32]{
		Name: "kv", Select: `select * from kv "pgquery.parents"`, Key: "page", Order: "id",
	}
	err := pgquery.Load(t.Context(), pool, []one{{}}, taken)
	wantsDeclarationError(t, err, "names that begin with pgquery. are taken")
}

// The modes of pgx that do not ask the server for types, as a pooler may need them.
func TestModes(t *testing.T) {
	t.Parallel()
	described := setup(t)
	_, err := described.Exec(t.Context(), `
		create table keys (id uuid primary key, parent uuid, mood mood not null);
		insert into keys select md5(i::text)::uuid, md5((i / 5)::text)::uuid, 'calm' from generate_series(1, 50) i`)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID     [16]byte
		Parent *[16]byte
		Mood   mood
	}
	type args struct{ Not [16]byte }
	type one struct {
		ID  [16]byte
		All []row
	}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		config := described.Config()
		config.ConnConfig.DefaultQueryExecMode = mode
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		list := &pgquery.List[args, row]{
			Name: "keys", Select: "select * from keys", Where: "id <> @not", Sorts: pgquery.Sorts{"all": "parent desc, id"},
			Sizes: []int{7},
		}
		at, n := pgquery.At{}, 0
		for page := (pgquery.Page[row]{Next: "first"}); page.Next != ""; at.Cursor = page.Next {
			if page, err = list.Page(t.Context(), pool, args{}, at); err != nil {
				t.Fatalf("%v: %v", mode, err)
			}
			n += len(page.Rows)
		}
		if n != 50 {
			t.Errorf("%v: %d rows", mode, n)
		}
		insert := &pgquery.Insert[row, row]{
			Name: "insert", Table: "keys", Columns: "id uuid, parent uuid, mood mood", Conflict: "(id) do nothing",
			Returning: "id, parent, mood",
		}
		added := []row{{ID: [16]byte{15: byte(mode)}, Mood: "busy"}, {ID: [16]byte{1, 15: byte(mode)}, Parent: &[16]byte{3}, Mood: "busy"}}
		if got, err := insert.Apply(t.Context(), pool, added); err != nil || len(got) != 2 || got[0].Parent != nil {
			t.Errorf("%v: %v, %v", mode, got, err)
		}
		parents := []one{{ID: [16]byte{3}}}
		err = pgquery.Load(t.Context(), pool, parents, &pgquery.Relation[one, row, [16]byte]{
			Name: "keys", Select: "select * from keys", Key: "parent", Order: "id", Limit: 9,
			Parent: func(o *one) ([16]byte, bool) { return o.ID, true },
			Child:  func(r *row) [16]byte { return *r.Parent },
			Assign: func(o *one, all []row) { o.All = all },
		})
		if err != nil || len(parents[0].All) != 1 {
			t.Errorf("%v: %v, %+v", mode, err, parents)
		}
		if _, err := pool.Exec(t.Context(), "delete from keys where mood = 'busy'"); err != nil {
			t.Fatal(err)
		}
	}
}
