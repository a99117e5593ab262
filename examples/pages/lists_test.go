package pages

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtx"
)

// Lists and patches run on the handles that the example already uses.
var (
	_ pgquery.DB = pgtx.DB(nil)
	_ pgquery.DB = db.DBTX(nil)
	_ pgquery.DB = (*pgxpool.Pool)(nil)
	_ pgquery.DB = pgx.Tx(nil)
)

// All declarations fit the migrated schema.
func TestQueries(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	pgquerytest.Check(t, pool, &List, pgquerytest.Indexed(&List, "path"), &changePage, &newestRevisions,
		&publications, &assets)
	pgquerytest.CheckConstraints(t, pool, Constraints)
}

// counting counts what is sent.
type counting struct {
	pgquery.DB
	pgquery.Batcher
	n int
}

func (c *counting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	c.n++
	return c.DB.Query(ctx, sql, args...)
}

func (c *counting) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	c.n++
	return c.Batcher.SendBatch(ctx, b)
}

// A list of pages with their revisions, publications and files takes two round trips, however many
// pages there are.
func TestDetailsWithoutNPlusOne(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	site, err := db.New(pool).SaveSite(t.Context(), db.SaveSiteParams{Slug: "fernhill", Name: "Fernhill"})
	if err != nil {
		t.Fatal(err)
	}
	var published uuid.UUID
	for _, slug := range []string{"a", "b", "c", "d", "e"} {
		page, err := Create(t.Context(), pool, Draft{
			SiteID: site.ID, Slug: slug, Title: slug, Blocks: []byte("[]"),
			Actor: "maren",
		})
		if err != nil {
			t.Fatal(err)
		}
		for revision := range int32(4) {
			_, err := Save(t.Context(), pool, Edit{
				PageID: page.ID, SeenRevision: revision + 1, Title: slug,
				Blocks: []byte("[]"), Actor: "maren",
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		published = page.ID
	}
	if _, err := Publish(t.Context(), pool, Publication{PageID: published, Key: "k", Actor: "maren"}); err != nil {
		t.Fatal(err)
	}
	_, err = db.New(pool).SaveAsset(t.Context(), db.SaveAssetParams{
		SiteID: site.ID, Name: "a.png", MediaType: "image/png", SHA256: make([]byte, 32), Location: "s3://a",
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := &counting{DB: pool, Batcher: pool}
	page, err := List.Page(t.Context(), conn, ListArgs{Site: site.ID}, pgquery.At{Sort: "published"})
	if err != nil {
		t.Fatal(err)
	}
	if err := LoadDetails(t.Context(), conn, page.Rows); err != nil {
		t.Fatal(err)
	}
	if conn.n != 2 || len(page.Rows) != 5 {
		t.Errorf("%d pages in %d round trips", len(page.Rows), conn.n)
	}
	for i, row := range page.Rows {
		online := row.ID == published
		if online != (i == 0) || online != (row.PublishedAt != nil) || online != (len(row.Publications) == 1) {
			t.Errorf("at %d: %+v", i, row)
		}
		if len(row.Revisions) != 3 || row.Revisions[0].Revision != 5 || len(row.Assets) != 1 {
			t.Errorf("at %d: %+v", i, row)
		}
	}
}
