package list

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/lab/bench/harness"
	"github.com/page-builder/persistence/pgquery"
)

const relatedSchema = `
create table revisions (page bigint not null, number int not null, note text not null, primary key (page, number));
create table assets (like revisions including all);
create table visits (like revisions including all);
insert into revisions select p, n, 'revision ' || n from generate_series(1, 2000) p, generate_series(1, 5) n;
insert into assets select p, n, 'asset ' || n from generate_series(1, 2000) p, generate_series(1, 3) n;
insert into visits select p, n, 'visit ' || n from generate_series(1, 2000) p, generate_series(1, 4) n;
`

// relations has each table and its number of rows for a page.
var relations = []struct {
	table string
	each  int
}{{"revisions", 5}, {"assets", 3}, {"visits", 4}}

type related struct {
	ID       int64
	Children [3][]child // by relation
}

type child struct {
	Page   int64
	Number int32
	Note   string
}

// relatedSides returns the ways to read 100 pages with three relations.
func relatedSides(pool *pgxpool.Pool) []harness.Side {
	var loads []pgquery.Loader[related]
	for i, relation := range relations {
		loads = append(loads, &pgquery.Relation[related, child, int64]{
			Name: relation.table, Select: "select page, number, note from " + relation.table, Key: "page",
			Order: "page, number", Parent: func(p *related) (int64, bool) { return p.ID, true },
			Child:  func(c *child) int64 { return c.Page },
			Assign: func(p *related, all []child) { p.Children[i] = all },
		})
	}
	side := func(name string, load func(context.Context, []related) error) harness.Side {
		return harness.Side{Name: name, Op: func(ctx context.Context) error {
			parents := make([]related, 100)
			for i := range parents {
				parents[i].ID = int64(i*17 + 1)
			}
			err := load(ctx, parents)
			for _, p := range parents {
				for i, relation := range relations {
					if err == nil && len(p.Children[i]) != relation.each {
						err = fmt.Errorf("page %d is not whole", p.ID)
					}
				}
			}
			return err
		}}
	}
	return []harness.Side{
		side("a batch by hand", func(ctx context.Context, parents []related) error {
			return batch(ctx, pool, parents)
		}),
		side("pgquery.Load", func(ctx context.Context, parents []related) error {
			return pgquery.Load(ctx, pool, parents, loads...)
		}),
		side("n + 1", func(ctx context.Context, parents []related) (err error) {
			for p := range parents {
				for i, relation := range relations {
					if parents[p].Children[i], err = query[child](ctx, pool, "select page, number, note from "+
						relation.table+" where page = $1 order by number", parents[p].ID); err != nil {
						return err
					}
				}
			}
			return nil
		}),
	}
}

// batch reads the relations in one round trip, and groups their rows.
func batch(ctx context.Context, pool *pgxpool.Pool, parents []related) error {
	ids := make([]int64, len(parents))
	byID := make(map[int64]*related, len(parents))
	for i := range parents {
		ids[i], byID[parents[i].ID] = parents[i].ID, &parents[i]
	}
	b := &pgx.Batch{}
	for i, relation := range relations {
		b.Queue("select page, number, note from "+relation.table+" where page = any($1) order by page, number",
			ids).Query(func(rows pgx.Rows) error {
			all, err := pgx.CollectRows(rows, pgx.RowToStructByName[child])
			for _, c := range all {
				byID[c.Page].Children[i] = append(byID[c.Page].Children[i], c)
			}
			return err
		})
	}
	return pool.SendBatch(ctx, b).Close()
}
