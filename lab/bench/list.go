package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
)

const listSchema = `
create table pages (
	id bigint primary key, site int not null, title text not null, state text not null, prio int not null,
	due timestamptz, author int not null, created timestamptz not null);
insert into pages select i, 9, 'page ' || i, (array['draft', 'live'])[1 + i % 2], i % 1000,
	case when i % 4 > 0 then timestamptz '2026-01-01' + i * interval '1 minute' end, 1 + i % 5,
	timestamptz '2026-01-01' + i * interval '1 second' from generate_series(1, 1000000) i;
create index on pages (site, created desc, id desc);
create index on pages (site, state, author, created desc, id desc);
create index on pages (site, due, id);
create index on pages (site, prio, created desc, id desc);
create unique index on pages (title);
create table revisions (page bigint not null, number int not null, note text not null, primary key (page, number));
create table assets (page bigint not null, name text not null, size bigint not null, primary key (page, name));
create table visits (page bigint not null, day date not null, count bigint not null, primary key (page, day));
insert into revisions select p, n, 'note ' || n from generate_series(1, 2000) p, generate_series(1, 5) n;
insert into assets select p, 'asset ' || n, n from generate_series(1, 2000) p, generate_series(1, 3) n;
insert into visits select p, date '2026-01-01' + n, n from generate_series(1, 2000) p, generate_series(1, 4) n;
`

type listArgs struct {
	Site   int32
	State  *string
	Author *int32
	Title  *string
}

type listRow struct {
	ID      int64
	Title   string
	State   string
	Prio    int32
	Due     *time.Time
	Created time.Time
}

const listSelect = `select p.id, p.title, p.state, p.prio, p.due, p.created from pages p`

func newList() *pgquery.List[listArgs, listRow] {
	return &pgquery.List[listArgs, listRow]{
		Name: "bench", Select: listSelect, Where: "p.site = @site",
		Filters: pgquery.Filters{
			"state": "p.state = @state", "author": "p.author = @author", "title": "p.title = @title",
		},
		Sorts: pgquery.Sorts{
			"newest": "created desc, id desc", "due": "due nulls last, id", "prio": "prio, created desc, id desc",
		},
		Sizes: []int{20},
	}
}

// lists compares pgquery with the same SQL by hand, and with other ways to filters and pages.
func lists(ctx context.Context, r *report, rounds int) error {
	url, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := fillLists(ctx, pool); err != nil {
		return err
	}
	filtered, end, err := filteredLists(url, pool)
	if err != nil {
		return err
	}
	defer end()
	if err := compare(ctx, r, "A list of 20 with two filters", rounds, 200, filtered...); err != nil {
		return err
	}
	list := newList()
	for _, try := range []struct{ sort, title, order string }{
		{"newest", "row values", "created desc, id desc"},
		{"prio", "mixed directions", "prio, created desc, id desc"},
		{"due", "nulls", "due nulls last, id"},
	} {
		sides, err := farPages(ctx, pool, list, try.sort, try.order)
		if err != nil {
			return err
		}
		if err := compare(ctx, r, "Page 5,001 of 1 million rows: "+try.title, rounds, 50, sides[:2]...); err != nil {
			return err
		}
		title := "Page 5,001 by OFFSET: " + try.title
		if err := compare(ctx, r, title, min(rounds, 5), 2, sides[0], sides[2]); err != nil {
			return err
		}
	}
	if err := compare(ctx, r, "100 parents with three relations", rounds, 5, relatedSides(pool)...); err != nil {
		return err
	}
	return optionalFilter(ctx, r, pool, list)
}

func fillLists(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, listSchema); err != nil {
		return err
	}
	_, err := pool.Exec(ctx, "vacuum analyze", pgx.QueryExecModeSimpleProtocol)
	return err
}

// farPages returns the first page, page 5,001, and the same page by OFFSET.
func farPages(
	ctx context.Context, pool *pgxpool.Pool, list *pgquery.List[listArgs, listRow], sort, order string,
) ([]side, error) {
	first := pgquery.At{Sort: sort}
	far := first
	for range 5000 {
		page, err := list.Page(ctx, pool, listArgs{Site: 9}, far)
		if err != nil {
			return nil, err
		}
		far.Cursor = page.Next
	}
	read := func(at pgquery.At) func(context.Context) error {
		return func(ctx context.Context) error {
			page, err := list.Page(ctx, pool, listArgs{Site: 9}, at)
			if err == nil && len(page.Rows) != 20 {
				err = fmt.Errorf("%d rows", len(page.Rows))
			}
			return err
		}
	}
	return []side{
		{"page 1", read(first)},
		{"page 5,001", read(far)},
		{"page 5,001 by OFFSET", func(ctx context.Context) error {
			text := listSelect + " where p.site = $1 order by " + order + " limit 21 offset 100000"
			rows, err := pool.Query(ctx, text, int32(9))
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, pgx.RowToStructByName[listRow])
			return err
		}},
	}, nil
}

// optionalFilter shows one filter with an index as it is used again and again on one connection:
// the server makes a generic plan at the sixth use of a prepared statement if that looks cheaper.
func optionalFilter(
	ctx context.Context, r *report, pool *pgxpool.Pool, list *pgquery.List[listArgs, listRow],
) error {
	r.printf("\n### An optional filter with an index, by its use on a connection\n\n")
	r.printf("The title is unique, and the filters that are not given are null. Milliseconds.\n\n")
	r.printf("| | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |\n|---|---|---|---|---|---|---|---|---|\n")
	title := "page 500000"
	for _, way := range []struct {
		name string
		read func(context.Context, pgquery.DB) error
	}{
		{"pgquery", func(ctx context.Context, db pgquery.DB) error {
			_, err := list.Page(ctx, db, listArgs{Site: 9, Title: &title}, pgquery.At{Sort: "newest"})
			return err
		}},
		{"sqlc, narg with CASE", func(ctx context.Context, db pgquery.DB) error {
			_, err := listByCase(ctx, db, 9, nil, nil, &title)
			return err
		}},
		{"sqlc, narg is null or", func(ctx context.Context, db pgquery.DB) error {
			_, err := listByNull(ctx, db, 9, nil, nil, &title)
			return err
		}},
	} {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "discard all", pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			err = conn.Conn().DeallocateAll(ctx)
		}
		r.printf("| %s |", way.name)
		for range 8 {
			began := time.Now()
			if err == nil {
				err = way.read(ctx, conn)
			}
			r.printf(" %.2f |", float64(time.Since(began).Microseconds())/1000)
		}
		r.printf("\n")
		conn.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
