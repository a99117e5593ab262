package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
)

type relatedPage struct {
	ID        int64
	Revisions []revisionRow
	Assets    []assetRow
	Visits    []visitRow
}

type revisionRow struct {
	Page   int64
	Number int32
	Note   string
}

type assetRow struct {
	Page int64
	Name string
	Size int64
}

type visitRow struct {
	Page  int64
	Day   time.Time
	Count int64
}

const (
	revisionsSelect = "select page, number, note from revisions"
	assetsSelect    = "select page, name, size from assets"
	visitsSelect    = "select page, day, count from visits"
)

// relatedSides returns the ways to 100 pages with their revisions, assets and visits.
func relatedSides(pool *pgxpool.Pool) []side {
	key := func(p *relatedPage) (int64, bool) { return p.ID, true }
	revisions := &pgquery.Relation[relatedPage, revisionRow, int64]{
		Name: "revisions", Select: revisionsSelect, Key: "page", Order: "page, number", Parent: key,
		Child:  func(c *revisionRow) int64 { return c.Page },
		Assign: func(p *relatedPage, all []revisionRow) { p.Revisions = all },
	}
	assets := &pgquery.Relation[relatedPage, assetRow, int64]{
		Name: "assets", Select: assetsSelect, Key: "page", Order: "page, name", Parent: key,
		Child:  func(c *assetRow) int64 { return c.Page },
		Assign: func(p *relatedPage, all []assetRow) { p.Assets = all },
	}
	visits := &pgquery.Relation[relatedPage, visitRow, int64]{
		Name: "visits", Select: visitsSelect, Key: "page", Order: "page, day", Parent: key,
		Child:  func(c *visitRow) int64 { return c.Page },
		Assign: func(p *relatedPage, all []visitRow) { p.Visits = all },
	}
	parents := func() []relatedPage {
		pages := make([]relatedPage, 100)
		for i := range pages {
			pages[i].ID = int64(i*17 + 1)
		}
		return pages
	}
	check := func(pages []relatedPage, err error) error {
		for _, p := range pages {
			if err == nil && (len(p.Revisions) != 5 || len(p.Assets) != 3 || len(p.Visits) != 4) {
				err = fmt.Errorf("page %d is not whole", p.ID)
			}
		}
		return err
	}
	return []side{
		{"a batch by hand", func(ctx context.Context) error {
			pages := parents()
			return check(pages, batch(ctx, pool, pages))
		}},
		{"pgquery.Load", func(ctx context.Context) error {
			pages := parents()
			return check(pages, pgquery.Load(ctx, pool, pages, revisions, assets, visits))
		}},
		{"n + 1", func(ctx context.Context) error {
			pages := parents()
			for i := range pages {
				p := &pages[i]
				err := readInto(ctx, pool, &p.Revisions, revisionsSelect+" where page = $1 order by number", p.ID)
				if err == nil {
					err = readInto(ctx, pool, &p.Assets, assetsSelect+" where page = $1 order by name", p.ID)
				}
				if err == nil {
					err = readInto(ctx, pool, &p.Visits, visitsSelect+" where page = $1 order by day", p.ID)
				}
				if err != nil {
					return err
				}
			}
			return check(pages, nil)
		}},
	}
}

func readInto[T any](ctx context.Context, pool *pgxpool.Pool, into *[]T, sql string, args ...any) error {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	*into, err = pgx.CollectRows(rows, pgx.RowToStructByName[T])
	return err
}

// batch reads the three relations in one round trip, and groups their rows.
func batch(ctx context.Context, pool *pgxpool.Pool, pages []relatedPage) error {
	ids := make([]int64, len(pages))
	byID := make(map[int64]*relatedPage, len(pages))
	for i := range pages {
		ids[i], byID[pages[i].ID] = pages[i].ID, &pages[i]
	}
	b := &pgx.Batch{}
	b.Queue(revisionsSelect+" where page = any($1) order by page, number", ids).Query(func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[revisionRow])
		for _, row := range all {
			byID[row.Page].Revisions = append(byID[row.Page].Revisions, row)
		}
		return err
	})
	b.Queue(assetsSelect+" where page = any($1) order by page, name", ids).Query(func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[assetRow])
		for _, row := range all {
			byID[row.Page].Assets = append(byID[row.Page].Assets, row)
		}
		return err
	})
	b.Queue(visitsSelect+" where page = any($1) order by page, day", ids).Query(func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[visitRow])
		for _, row := range all {
			byID[row.Page].Visits = append(byID[row.Page].Visits, row)
		}
		return err
	})
	return pool.SendBatch(ctx, b).Close()
}
