package pgquery_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/page-builder/persistence/pgquery"
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
	state    text not null default 'draft',
	mood     mood not null default 'calm',
	prio     int not null default 0,
	due      timestamptz,
	author   int references authors,
	version  int not null default 1,
	created  timestamptz not null default now(),
	constraint title_taken unique (site, title)
);
create index pages_newest on pages (site, created desc, id desc);
create index pages_due on pages (site, due, id);
create index pages_prio on pages (site, prio, created desc, id desc);
insert into authors select i, 'author ' || i, case when i % 2 = 0 then 'bio' end from generate_series(1, 5) i;
insert into pages (site, title, state, prio, due, author, created)
select 1 + i / 60, 'page ' || i, (array['draft', 'live'])[1 + i % 2], i % 3,
	case when i % 4 > 0 then timestamptz '2026-01-01' + (i / 8) * interval '1 hour' end,
	case when i % 5 > 0 then i % 5 end, timestamptz '2026-01-01' + (i / 5) * interval '1 minute'
from generate_series(0, 79) i;
`

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

type author struct {
	ID   int32
	Name string
	Bio  *string
}

type pageArgs struct {
	Site   int32
	State  *string
	Author []int32
	Since  pgquery.Optional[time.Time]
	Late   bool
}

type pageRow struct {
	ID      int64
	Title   string
	State   string
	Prio    int32
	Due     *time.Time
	Created time.Time
	Author  *author `db:"author.*"`
}

func newPages() *pgquery.List[pageArgs, pageRow] {
	return &pgquery.List[pageArgs, pageRow]{
		Name: "pages",
		Select: `select p.id, p.title, p.state, p.prio, p.due, p.created,
			a.id as "author.id", a.name as "author.name", a.bio as "author.bio"
			from pages p left join authors a on a.id = p.author`,
		Where: `p.site = @site`,
		Filters: pgquery.Filters{
			"state":  `p.state = @state`,
			"author": `p.author = any(@author)`,
			"since":  `p.created >= @since`,
			"late":   `p.due < '2026-01-01 04:00+00'`,
		},
		Sorts: pgquery.Sorts{
			"newest": `created desc, id desc`,
			"due":    `due nulls last, id`,
			"undue":  `due desc nulls first, id`,
			"late":   `due desc nulls last, created, id desc`,
			"prio":   `prio, created desc, id desc`,
			"title":  `title`,
		},
		Sizes: []int{7, 20, 100},
	}
}
