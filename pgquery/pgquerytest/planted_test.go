package pgquerytest_test

import (
	"testing"
	"time"

	"github.com/page-builder/persistence/pgquery"
)

// Each test plants a mistake into a correct list. Check says what is wrong, and where.
func TestPlantedMistakes(t *testing.T) {
	t.Parallel()
	type list = pgquery.List[args, row]
	for name, try := range map[string]struct {
		change func(*list)
		before string // SQL of an earlier migration
		want   string
	}{
		"a renamed column": {
			before: `alter table pages rename prio to priority`,
			want:   `Select: the server refuses it: column p.prio does not exist (42703)`,
		},
		"a column too many": {
			change: func(l *list) {
				l.Select = `select p.id, p.title, p.prio, p.due, p.created,
			p.mood from pages p`
			},
			want: `Select: column "mood" has no field`,
		},
		"a column too few": {
			change: func(l *list) {
				l.Select = `select p.id, p.prio, p.title, p.due from pages p`
				delete(l.Sorts, "newest")
				delete(l.Sorts, "prio")
			},
			want: `field Created of the row struct has no column`,
		},
		"a wrong type": {
			before: `alter table pages alter prio type bigint`,
			want:   `column "prio": is int8, and the field is int32`,
		},
		"nullable, direct": {
			before: `alter table pages alter title drop not null`,
			want:   `column "title" may be null: pages.title is not declared not null`,
		},
		"nullable, by outer join": {
			change: func(l *list) {
				l.Select = `select p.id, a.name as title, p.prio, p.due, p.created from pages p left join authors a on
				a.id = p.author`
				delete(l.Sorts, "title")
			},
			want: `column "title" may be null: an outer join or a grouping set may have no row for authors.name`,
		},
		"a missing argument": {
			change: func(l *list) { l.Where = `p.site = @sites` },
			want:   `Where: @sites has no field in the argument struct; it has Site, Mood`,
		},
		"a misspelled filter": {
			change: func(l *list) { l.Filters = pgquery.Filters{"moods": `p.mood = @mood`} },
			want:   `Filters[moods]: the filter has no field in the argument struct; it has Site, Mood`,
		},
		"a misspelled column": {
			change: func(l *list) { l.Filters["mood"] = `p.moood = @mood` },
			want:   `Filters[mood]: the server refuses it: column p.moood does not exist`,
		},
		"a misspelled sort": {
			change: func(l *list) { l.Sorts["due"] = `dues, id` },
			want:   `Sorts[due]: column dues is not a field of the row struct`,
		},
		"no unique end": {
			change: func(l *list) { l.Sorts["due"] = `due nulls last` },
			want:   `Sorts[due]: has no unique end: no unique index of pages`,
		},
		"a nullable end": {
			change: func(l *list) { l.Sorts["due"] = `due nulls last` },
			before: `create unique index on pages (site, due)`, want: `Sorts[due]: has no unique end`,
		},
		"a partial index": {
			change: func(l *list) { l.Sorts["due"] = `prio` },
			before: `create unique index on pages (site, prio) where mood = 'calm'`,
			want:   `Sorts[due]: has no unique end`,
		},
		"a multiplying join": {
			change: func(l *list) {
				l.Select = `select p.id, t.name as title, p.prio, p.due, p.created from pages p join tags t on t.page =
				p.id`
				delete(l.Sorts, "title")
			},
			want: `the join with tags may give a row several times`,
		},
		"a multiplying outer join": {
			change: func(l *list) {
				l.Select = `select p.id, coalesce(t.name, '') as title, p.prio, p.due, p.created from pages p left join
				tags t on t.page = p.id and p.title = t.name and p.prio = 5`
				delete(l.Sorts, "title")
			},
			before: `drop table tags; create table tags (page bigint not null, name text not null)`,
			want:   `the join with tags may give a row several times`,
		},
		"a lateral join with a limit": {
			change: func(l *list) {
				l.Select = `select p.id, t.name as title, p.prio, p.due, p.created from pages p cross join lateral
					(select * from tags where page = p.id and name > 'a' limit 3) t`
				delete(l.Sorts, "title")
			},
			want: `the join with tags may give a row several times`,
		},
		"a lateral join with a computed limit": {
			change: func(l *list) {
				l.Select = `select p.id, t.name as title, p.prio, p.due, p.created from pages p cross join lateral
					(select * from tags where page = p.id limit 1 + 1) t`
				delete(l.Sorts, "title")
			},
			want: `the join with tags may give a row several times`,
		},
		"a join with any of two": {
			change: func(l *list) { l.Select += ` join authors a on a.id = any(array[p.author, 1])` },
			want:   `the join with authors may give a row several times`,
		},
		"a join with a partial index": {
			before: `create unique index on authors (name) where bio is not null`,
			change: func(l *list) { l.Select += ` join authors a on a.name = p.title` },
			want:   `the join with authors may give a row several times`,
		},
		"a deferrable constraint": {
			before: `alter table pages drop constraint title_taken;
				alter table pages add constraint title_taken unique (site, title) deferrable`,
			want: `Sorts[title]: has no unique end`,
		},
		"nullable, in an expression": {
			change: func(l *list) {
				l.Select = `select p.id, to_char(p.due, 'YYYY') || 'x' as title, p.prio, p.due, p.created from pages p`
				delete(l.Sorts, "title")
			},
			want: `column "title" may be null: it is computed from pages.due, which may be null`,
		},
		"nullable, in a cast": {
			change: func(l *list) {
				l.Select = `select p.id, a.name::varchar(3) as title, p.prio, p.due, p.created from pages p
					left join authors a on a.id = p.author`
				delete(l.Sorts, "title")
			},
			want: `column "title" may be null: it is computed from authors.name, which may be null`,
		},
		"nullif": {
			change: func(l *list) {
				l.Select = `select p.id, nullif(p.title, '') as title, p.prio, p.due, p.created from pages p`
				delete(l.Sorts, "title")
			},
			want: `column "title" may be null: NULLIF makes it so`,
		},
		"an antijoin with a constant": {
			change: func(l *list) {
				l.Where += ` and not exists (select from tags t where t.page = p.id and p.prio = 5)`
				l.Sorts["due"] = `title`
			},
			before: `alter table pages drop constraint title_taken; create unique index on pages (prio, title)`,
			want:   `Sorts[due]: has no unique end`,
		},
		"a cast in a join": {
			before: `alter table pages add day date not null default '2000-01-01';
				create table events (at timestamp primary key)`,
			change: func(l *list) { l.Select += ` join events e on e.at::date = p.day` },
			want:   `the join with events may give a row several times`,
		},
		"a cast in Where": {
			before: `create unique index on pages (site, price)`,
			change: func(l *list) {
				l.Where += ` and p.price::int8 = 5`
				l.Sorts["due"] = `prio`
			},
			want: `Sorts[due]: has no unique end`,
		},
		"an index of another collation": {
			before: `create collation same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
				drop view page_titles; alter table pages drop constraint title_taken;
				alter table pages alter title type text collate same;
				create unique index on pages (site, title collate "C")`,
			want: `Sorts[title]: has no unique end`,
		},
		"a sort by the time": {
			change: func(l *list) {
				l.Select = `select p.id, p.title, extract(epoch from now() - p.created)::int as prio, p.due, p.created
					from pages p`
			},
			want: `Sorts[prio]: column "prio" changes between requests`,
		},
		"a sort by chance": {
			change: func(l *list) {
				l.Select = `select p.id, p.title, (random() * 9)::int as prio, p.due, p.created from pages p`
			},
			want: `Sorts[prio]: column "prio" changes between requests`,
		},
		"a rollup": {
			change: func(l *list) {
				l.Select = `select p.id, p.title, p.prio, p.due, p.created from (select id, title, prio, due, created
					from pages group by rollup (id, title, prio, due, created)) p`
				l.Where = "@site > 0"
			},
			want: `column "title" may be null`,
		},
		"grouping sets": {
			change: func(l *list) {
				l.Select = `select p.id, p.title, p.prio, p.due, p.created
					from (select id, title, prio, due, created, site
					from pages group by grouping sets ((id, title, prio, due, created, site), ())) p`
			},
			want: `has no unique end`,
		},
		"a filter that guards access": {change: func(l *list) {
			l.Where = `p.prio > 0`
			l.Filters["site"] = `p.site =
			@site`
		}, want: `Filters[site]: the field Site is always there`},
		"for update": {
			change: func(l *list) { l.Select += ` for update` },
			want:   `Select: has a for of its own`,
		},
		"for update, hidden": {change: func(l *list) {
			l.Select = `select p.id, p.title, p.prio, p.due, p.created from (select * from pages for update) p`
		}, want: `locks every row`},
		"for update in a filter": {change: func(l *list) {
			l.Filters["mood"] = `p.mood = @mood and exists (select 1 from authors a where a.id = p.author for update)`
		}, want: `Filters[mood]: locks every row`},
		"an ambiguous parameter": {change: func(l *list) {
			l.Filters["mood"] = `@mood is null or p.mood =
			@mood`
		}, want: `Filters[mood]: the server refuses it: `},
		"two types for an argument": {
			change: func(l *list) { l.Where = `p.site = @site and p.price = @site` },
			want:   `argument @Site: is int4 in one place and numeric in another`,
		},
		"an open parenthesis": {
			change: func(l *list) { l.Filters["mood"] = `p.mood = @mood) or (true` },
			want:   `Filters[mood]: ')' closes nothing`,
		},
		"a view's column": {before: `alter table pages alter title drop not null; alter table pages rename
			to pages2; create view pages as select * from pages2`, want: `pages2.title is not declared not null`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := setup(t)
			if _, err := pool.Exec(t.Context(), try.before); err != nil {
				t.Fatal(err)
			}
			l := pages()
			if try.change != nil {
				try.change(l)
			}
			r := check(t, pool, l)
			wants(t, r, try.want)
			wants(t, r, "check_test.go:")
		})
	}
}

func TestPlantedTypes(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type intMood struct {
		Site int32
		Mood *int32
	}
	type anyMood struct {
		Site int32
		Mood *string
	}
	type optionalSite struct {
		Site *int32
		Mood *Mood
	}
	type plainDue struct {
		ID      int64
		Title   string
		Prio    int32
		Due     time.Time
		Created time.Time
	}
	type wideSite struct {
		Site int64
		Mood *Mood
	}
	p := pages()
	wants(t, check(t, pool, &pgquery.List[intMood, row]{
		Name: p.Name, Select: p.Select, Where: p.Where,
		Filters: p.Filters, Sorts: p.Sorts, Sizes: p.Sizes,
	}),
		"argument @Mood: is the enum mood, and the field is int32")
	wants(t, check(t, pool, &pgquery.List[anyMood, row]{
		Name: p.Name, Select: p.Select, Where: p.Where,
		Filters: p.Filters, Sorts: p.Sorts, Sizes: p.Sizes,
	}),
		"argument @Mood: is the enum mood, and the field is string: it takes any string")
	wants(t, check(t, pool, &pgquery.List[optionalSite, row]{
		Name: p.Name, Select: p.Select, Where: p.Where,
		Filters: p.Filters, Sorts: p.Sorts, Sizes: p.Sizes,
	}),
		"Where: the field Site may be left out")
	wants(t, check(t, pool, &pgquery.List[args, plainDue]{
		Name: p.Name, Select: p.Select, Where: p.Where,
		Filters: p.Filters, Sorts: p.Sorts, Sizes: p.Sizes,
	}),
		`column "due" may be null: pages.due is not declared not null`)
	wants(t, check(t, pool, &pgquery.List[wideSite, row]{
		Name: p.Name, Select: p.Select, Where: p.Where,
		Filters: p.Filters, Sorts: p.Sorts, Sizes: p.Sizes,
	}),
		`argument @Site: is int4, and the field is int64`)
}
