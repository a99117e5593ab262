// Package list compares lists of pgquery with the same SQL by hand, and with other ways to filter,
// to page and to read relations.
package list

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgquery"
)

// Comparison is the package's entry in the list of comparisons.
var Comparison = harness.Comparison{
	Name: "list", Rounds: 30, Run: run,
	Reasons: []harness.Reason{{
		Table: `two filters`, Side: `^pgquery`,
		Why: "The text of the statement is chosen by the filters that are given, and a cursor is made of the last row.",
	}},
}

const schema = `
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
`

type filters struct {
	Site   int32
	State  *string
	Author *int32
	Title  *string
}

type row struct {
	ID      int64
	Title   string
	State   string
	Prio    int32
	Due     *time.Time
	Created time.Time
}

const pagesSelect = `select p.id, p.title, p.state, p.prio, p.due, p.created from pages p`

var pages = &pgquery.List[filters, row]{
	Name: "bench", Select: pagesSelect, Where: "p.site = @site",
	Filters: pgquery.Filters{
		"state": "p.state = @state", "author": "p.author = @author", "title": "p.title = @title",
	},
	Sorts: pgquery.Sorts{
		"newest": "created desc, id desc", "due": "due nulls last, id", "prio": "prio, created desc, id desc",
	},
	Sizes: []int{20},
}

func run(ctx context.Context, r *harness.Report, rounds int) error {
	url, drop, err := harness.Database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, schema+relatedSchema); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "vacuum analyze", pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	filtered, end, err := filteredLists(url, pool)
	if err != nil {
		return err
	}
	defer end()
	if err := r.Compare(ctx, "A list of 20 with two filters", rounds, 200, filtered...); err != nil {
		return err
	}
	for _, try := range []struct{ sort, title, order string }{
		{"newest", "row values", "created desc, id desc"},
		{"prio", "mixed directions", "prio, created desc, id desc"},
		{"due", "nulls", "due nulls last, id"},
	} {
		sides, err := farPages(ctx, pool, try.sort, try.order)
		if err != nil {
			return err
		}
		if err := r.Compare(ctx, "Page 5,001 of 1 million rows: "+try.title, rounds, 50, sides[:2]...); err != nil {
			return err
		}
		title := "Page 5,001 by OFFSET: " + try.title
		if err := r.Compare(ctx, title, min(rounds, 5), 2, sides[0], sides[2]); err != nil {
			return err
		}
	}
	if err := r.Compare(ctx, "100 parents with three relations", rounds, 5, relatedSides(pool)...); err != nil {
		return err
	}
	return optionalFilter(ctx, r, pool)
}

// farPages returns the first page, page 5,001, and the same page by OFFSET.
func farPages(ctx context.Context, pool *pgxpool.Pool, sort, order string) ([]harness.Side, error) {
	first := pgquery.At{Sort: sort}
	far := first
	for range 5000 {
		page, err := pages.Page(ctx, pool, filters{Site: 9}, far)
		if err != nil {
			return nil, err
		}
		far.Cursor = page.Next
	}
	side := func(name string, at pgquery.At) harness.Side {
		return harness.Side{Name: name, Op: func(ctx context.Context) error {
			page, err := pages.Page(ctx, pool, filters{Site: 9}, at)
			return check(20, page.Rows, err)
		}}
	}
	return []harness.Side{
		side("page 1", first),
		side("page 5,001", far),
		{Name: "page 5,001 by OFFSET", Op: func(ctx context.Context) error {
			rows, err := query[row](ctx, pool,
				pagesSelect+" where p.site = $1 order by "+order+" limit 21 offset 100000", int32(9))
			return check(21, rows, err)
		}},
	}, nil
}

func query[T any](ctx context.Context, db pgquery.DB, text string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

func check[T any](want int, rows []T, err error) error {
	if err == nil && len(rows) != want {
		err = fmt.Errorf("%d rows, want %d", len(rows), want)
	}
	return err
}

// optionalFilter prints the times of one indexed filter, by its use on one connection. At the sixth
// use of a prepared statement the server makes a generic plan, if that looks cheaper.
func optionalFilter(ctx context.Context, r *harness.Report, pool *pgxpool.Pool) error {
	const uses = 8
	title := "page 500000"
	head := []string{""}
	for use := range uses {
		head = append(head, fmt.Sprint(use+1))
	}
	var cells [][]string
	for _, way := range []struct {
		name string
		read func(context.Context, pgquery.DB) error
	}{
		{"pgquery", func(ctx context.Context, db pgquery.DB) error {
			_, err := pages.Page(ctx, db, filters{Site: 9, Title: &title}, pgquery.At{Sort: "newest"})
			return err
		}},
		{"sqlc, narg with CASE", func(ctx context.Context, db pgquery.DB) error {
			_, err := sqlcList(ctx, db, withCase, 9, nil, nil, &title)
			return err
		}},
		{"sqlc, narg is null or", func(ctx context.Context, db pgquery.DB) error {
			_, err := sqlcList(ctx, db, withNull, 9, nil, nil, &title)
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
		line := []string{way.name}
		for range uses {
			began := time.Now()
			if err == nil {
				err = way.read(ctx, conn)
			}
			line = append(line, fmt.Sprintf("%.2f", float64(time.Since(began).Microseconds())/1000))
		}
		conn.Release()
		if err != nil {
			return err
		}
		cells = append(cells, line)
	}
	r.Grid("An optional filter with an index, by its use on a connection, in ms. The title is unique; the other "+
		"filters are null.", head, cells...)
	return nil
}
