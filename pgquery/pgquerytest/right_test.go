package pgquerytest_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
)

type joinedArgs struct{ Site int32 }

type author struct {
	ID   int32
	Name string
	Bio  *string
}

type joinedRow struct {
	ID     int64
	Title  string
	Author *author `db:"author.*"`
}

// Correct declarations pass. A false alarm would make Check useless.
func TestRightJoins(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(), `
		create table publications (id int primary key, page bigint not null references pages, online boolean not null);
		create unique index on publications (page) where online;
		create table parted (site int not null, id int not null, title text not null, primary key (site, id))
			partition by list (site);
		create table parted_1 partition of parted for values in (1);
		create table parted_2 partition of parted for values in (2);
		create table other (site int not null, id int not null, title text not null, primary key (site, id))
			partition by list (site);
		create table other_1 partition of other for values in (1);
		create domain price as numeric not null`)
	if err != nil {
		t.Fatal(err)
	}
	columns := `p.id, p.title, a.id as "author.id", a.name as "author.name", a.bio as "author.bio"`
	for name, try := range map[string]struct{ query, sort string }{
		"left join on a key": {
			`select ` + columns + ` from pages p left join authors a on a.id = p.author`,
			`title`,
		},
		"inner join on a key": {`select ` + columns + ` from pages p join authors a on a.id = p.author`, `id`},
		"the other way round": {
			`select ` + columns + ` from authors a join pages p on a.id = p.author`,
			`id desc`,
		},
		"partial unique index": {`select ` + columns +
			` from pages p left join authors a on a.id = p.author left join publications o on o.page = p.id and
				o.online`, `id`},
		"semijoin": {`select ` + columns +
			` from (select * from pages where exists (select from tags t where t.page = pages.id)) p left join
				authors a on a.id = p.author`, `id`},
		"lateral limit 1": {`select ` + columns +
			` from pages p left join lateral (select * from authors x where x.name > p.title order by x.id limit 1) a
				on true`, `id`},
		"lateral count": {`select ` + columns +
			` from pages p left join authors a on a.id = p.author cross join lateral (select count(*) from tags where
				page = p.id) n`, `id`},
		"grouped": {`select ` + columns +
			` from (select p.id, p.title, p.site, p.author, count(*) from pages p left join tags t on t.page = p.id
				group by p.id) p left join authors a on a.id = p.author`, `id`},
		"with": {`with live as (select * from pages where prio > 0) select ` + columns +
			` from live p left join authors a on a.id = p.author`, `id`},
		"with an argument": {`with recursive live as (select * from pages where prio >= 0 and site = @site) select ` +
			columns + ` from live p left join authors a on a.id = p.author`, `id`},
		"a join inside an outer join": {`select ` + columns + ` from pages p left join (publications o join authors a
			on a.id = o.id) on o.page = p.id and o.online`, `id`},
		"a view": {`select ` + columns +
			` from page_titles p left join authors a on a.id = p.id`, `id`},
		"a column of a join": {`select ` + columns + ` from pages p join authors a on a.id = p.author`, `title`},
		"unique by the list's site": {
			`select ` + columns + ` from pages p left join authors a on a.id = p.author`,
			`title desc`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := &pgquery.List[joinedArgs, joinedRow]{
				Name: "joined", Select: try.query, Where: "p.site = @site",
				Sorts: pgquery.Sorts{"only": try.sort}, Sizes: []int{10},
			}
			pgquerytest.Check(t, pool, list)
			if _, err := list.Page(t.Context(), pool, joinedArgs{1}, pgquery.At{}); err != nil {
				t.Error(err)
			}
		})
	}
	type partRow struct {
		ID    int32
		Title string
	}
	t.Run("partitions", func(t *testing.T) {
		t.Parallel()
		pgquerytest.Check(t, pool, &pgquery.List[joinedArgs, partRow]{
			Name: "parted", Select: `select p.id, p.title from parted p`, Where: "p.site = @site",
			Sorts: pgquery.Sorts{"only": "id"}, Sizes: []int{10},
		})
		for _, union := range []string{
			"select * from parted union all select * from parted", "select * from parted union all select * from other",
			"select id, site, title from parted_1 union all select site, id, title from parted_2",
		} {
			wants(t, check(t, pool, &pgquery.List[joinedArgs, partRow]{
				Name: "union", Select: "select p.id, p.title from (" + union + ") p", Where: "p.site = @site",
				Sorts: pgquery.Sorts{"only": "id"}, Sizes: []int{10},
			}), "Sorts[only]: has no unique end")
		}
	})
}

type patchArgs struct {
	ID      int64
	Version int32
	Title   pgquery.Optional[string] `db:"title,notnull"`
	Due     pgquery.Optional[time.Time]
	Mood    pgquery.Optional[Mood] `db:"mood,notnull"`
}

func patch() *pgquery.Patch[patchArgs, row] {
	return &pgquery.Patch[patchArgs, row]{
		Name: "patch_page", Table: "pages", Where: "id = @id", Version: "version",
		Columns: []string{"title", "due", "mood"}, Returning: "id, title, prio, due, created",
	}
}

// The planner knows whether Where finds one row, in whatever form it is written.
func TestRightPatches(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `
		create collation same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		create table notes (id int primary key, slug text not null, gone timestamptz, loose text collate same not null,
			title text not null);
		create unique index on notes (slug) where gone is null;
		create unique index on notes (loose collate "C");
		create view live_notes as select * from notes where gone is null`); err != nil {
		t.Fatal(err)
	}
	type args struct {
		Key   string
		Title pgquery.Optional[string] `db:"title,notnull"`
	}
	type note struct{ ID int32 }
	for where, isOne := range map[string]bool{
		"id = @key::text::int":                              true,
		"(@key::text)::int = notes.id":                      true,
		"slug = @key and gone is null":                      true,
		"((gone is null) and (slug = @key))":                true,
		"id in (select length(@key))":                       true,
		"slug = @key":                                       false,
		"loose = @key":                                      false,
		"id = length(@key) or slug = @key":                  false,
		"id >= length(@key)":                                false,
		"id = any('{1,2}') and slug <> @key":                false,
		"id = any(array[length(@key), 1])":                  false,
		"id::text = @key":                                   false,
		"length(@key) = 1 and title is not null":            false,
		"id in (select n.id from notes n) and title = @key": false,
	} {
		r := check(t, pool, &pgquery.Patch[args, note]{
			Name: "note", Table: "notes", Where: where, Columns: []string{"title"}, Returning: "id",
		})
		if isOne != (len(r.errors) == 0) {
			t.Errorf("%s: %q", where, r.errors)
		}
		if !isOne {
			wants(t, r, "Where: may find several rows: compare all columns of a unique index of notes")
		}
	}
	type viewArgs struct {
		Key   string
		Title pgquery.Optional[string]
	}
	type viewed struct{ ID *int32 }
	pgquerytest.Check(t, pool, &pgquery.Patch[viewArgs, viewed]{
		Name: "live", Table: "live_notes", Where: "slug = @key", Columns: []string{"title"}, Returning: "id",
	})
}

func TestPlantedPatches(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pgquerytest.Check(t, pool, patch())
	type nullableArgs struct {
		ID      int64
		Version int32
		Title   pgquery.Optional[string]
		Due     pgquery.Optional[time.Time] `db:"due,notnull"`
		Mood    pgquery.Optional[string]    `db:"mood,notnull"`
	}
	p := patch()
	r := check(t, pool, &pgquery.Patch[nullableArgs, row]{
		Name: p.Name, Table: p.Table, Where: p.Where,
		Version: p.Version, Columns: p.Columns, Returning: p.Returning,
	})
	wants(t, r, `Columns[title]: the column is not null: write notnull into its tag`)
	wants(t, r, `Columns[due]: the column may be null`)
	wants(t, r, `argument @mood: is the enum mood`)
	wants(t, r, `right_test.go:`)
	for name, try := range map[string]struct {
		change func(*pgquery.Patch[patchArgs, row])
		want   string
	}{
		"nullable": {func(p *pgquery.Patch[patchArgs, row]) {
			p.Returning = "id, prio::text as title, prio, due, due as created"
		}, `column "created" may be null: pages.due is not declared not null`},
		"several rows": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Where = "site = @id" },
			"Where: may find several rows",
		},
		"or": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Where = "id = @id or true" },
			"Where: may find several rows",
		},
		"no such table": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Table = "page" },
			`Returning: the server refuses it: relation "page" does not exist`,
		},
		"no such column": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Columns = []string{"titel", "due", "mood"} },
			"Columns[titel]: the column has no field",
		},
		"a bad version": {func(p *pgquery.Patch[patchArgs,
			row],
		) {
			p.Version = "mood"
			p.Columns = []string{"title", "due"}
		}, "may be left out"},
		"a bad expression": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Always = "updated = now()" },
			`column "updated" of relation "pages" does not exist`,
		},
		"a subquery": {
			func(p *pgquery.Patch[patchArgs, row]) { p.Table = "(select * from pages) p" },
			"Table: must be a name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patch()
			try.change(p)
			wants(t, check(t, pool, p), try.want)
		})
	}
}

func TestPlantedIndexes(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(), "drop index pages_due; drop index pages_prio; create index on pages (prio)")
	if err != nil {
		t.Fatal(err)
	}
	r := check(t, pool, pgquerytest.Indexed(pages(), "due"))
	wants(t, r, "Sorts[due]: forward: no index has the order")
	wants(t, r, "Sorts[due]: backward: no index finds the rows after the cursor's due")
	wants(t, r, "check_test.go:")
	wants(t, check(t, pool, pgquerytest.Indexed(pages(), "prio")),
		"Sorts[prio]: forward: no index finds the rows after the cursor's prio")
	wants(t, check(t, pool, pgquerytest.Indexed(pages(), "dues")),
		`Indexed names the sort "dues", which is not declared`)
	wants(t, check(t, pool, pgquerytest.Indexed(pages(), "due", "moods")),
		`Indexed names the filter "moods", which is not declared`)
}

// A list without an argument in Where must say so.
func TestGuard(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type guardArgs struct{ Site *int32 }
	list := func(open bool) *pgquery.List[guardArgs, row] {
		return &pgquery.List[guardArgs, row]{
			Name: "guard", Select: selected, Where: "p.prio > 0", Filters: pgquery.Filters{"site": "p.site = @site"},
			Sorts: pgquery.Sorts{"id": "id"}, Sizes: []int{10}, Open: open,
		}
	}
	wants(t, check(t, pool, list(false)), "Where: has no argument: a filter that can be left out guards access")
	pgquerytest.Check(t, pool, list(true))
}

func TestConstraints(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(),
		"create unique index prio_taken on pages (site, prio) where due is null"); err != nil {
		t.Fatal(err)
	}
	pgquerytest.CheckConstraints(t, pool, pgerr.Constraints{
		"pages.title_taken":       {Name: "title", Columns: []string{"title", "site"}},
		"pages.prio_taken":        {Columns: []string{"site", "prio"}},
		"pages.pages_author_fkey": {Columns: []string{"author"}},
		"pages.title":             {Name: "title_missing"},
	})
	r := &recorder{TB: t, ctx: t.Context()}
	pgquerytest.CheckConstraints(r, pool, pgerr.Constraints{
		"pages.title_took":  {Name: "title"},
		"page.title_taken":  {Name: "title"},
		"pages.due":         {Name: "due"},
		"pages.title_taken": {Columns: []string{"title"}},
	})
	if len(r.errors) != 4 {
		t.Errorf("%q", r.errors)
	}
	wants(t, r, "constraint pages.title_took: the database has none of that name")
	wants(t, r, "constraint pages.title_taken: is about site, title, and title are declared")
}

// A fact that the catalog or the planner cannot prove is not a mistake, if the declaration states
// it in another way.
func TestRightSchemas(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `
		create domain label as text not null check (value <> '');
		create table places (id int primary key, name label, due timestamptz, "Été" int not null default 1,
			tags text[] not null default '{}');
		create materialized view seen as select id, name, due from places;
		create unique index on seen (id);
		insert into places values (1, 'a', now(), 1, '{x,y}'), (2, 'b', null, 2, '{}')`); err != nil {
		t.Fatal(err)
	}
	type args struct{ Name string }
	type place struct {
		ID   int32
		Name string
		Due  time.Time
	}
	right := &pgquery.List[args, place]{
		Name: "places", Select: `select p.id, p.name, p.due from places p`,
		Where: `p.name = @name::label and p.due is not null`,
		Sorts: pgquery.Sorts{"id": "id", "due": "due, id"}, Sizes: []int{10},
	}
	strict := &pgquery.List[args, place]{
		Name: "late", Select: `select p.id, p.name, p.due from places p`, Where: `p.name = @name and p.due < '2100-01-01'`,
		Sorts: pgquery.Sorts{"due": "due, id"}, Sizes: []int{10},
	}
	view := &pgquery.List[args, place]{
		Name: "seen", Select: `select p.id, p.name, p.due from seen p`, Where: `p.name = @name and p.due is not null`,
		Sorts: pgquery.Sorts{"id": "id desc"}, Sizes: []int{10},
	}
	type tagged struct {
		ID  int32
		N   int64
		Tag string
		Été int32
	}
	tags := &pgquery.List[args, tagged]{
		Name: "tags",
		Select: `select p.id, t.n, t.tag, p.Été from places p
			cross join unnest(p.tags) with ordinality t (tag, n)`,
		Where: `p.name = @name`, Sorts: pgquery.Sorts{"n": "Été, id, n"}, Sizes: []int{10},
	}
	wants(t, check(t, pool, tags), "Sorts[n]: has no unique end")
	pgquerytest.Check(t, pool, right, strict, view, tags, pgquerytest.Unique(tags, "n"))
	page, err := tags.Page(t.Context(), pool, args{"a"}, pgquery.At{})
	if err != nil || len(page.Rows) != 2 || page.Rows[1].N != 2 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestPlantedInserts(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type tag struct {
		Page int64
		Name string
	}
	pgquerytest.Check(t, pool, &pgquery.Insert[tag, tag]{
		Name: "tags", Table: "tags", Columns: "page bigint, name text", Returning: "page, name",
	})
	type wrong struct {
		Site  int64
		Title *string
		Mood  string
	}
	type id struct{ ID int64 }
	r := check(t, pool, &pgquery.Insert[wrong, id]{
		Name: "wrong", Table: "pages", Columns: "site bigint, title text, mood mood", Returning: "id",
	})
	wants(t, r, "Columns[site]: is int4, and the field is int64")
	wants(t, r, "Columns[title]: the column is not null, and the field may be")
	wants(t, r, "Columns[mood]: is the enum mood, and the field is string: it takes any string")
	type only struct{ Name string }
	wants(t, check(t, pool, &pgquery.Insert[only, only]{
		Name: "only", Table: "tags", Columns: "name text", Returning: "name",
	}), `Columns: column "page" is missing`)
}
