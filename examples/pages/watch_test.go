package pages

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgtest"
	"github.com/page-builder/persistence/pgtx"
)

// Tests see each statement that sqlc's code, pgtx and pgquery send, and that an index serves it.
func TestWatch(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	w := pgtest.Watch(t, pool)
	sent := func(what string, want int) {
		t.Helper()
		if n := w.Count(); n != want {
			t.Errorf("%s: %d statements, want %d", what, n, want)
			w.AtMost(0)
		}
		w.Reset()
	}
	site, err := db.New(pool).SaveSite(t.Context(), db.SaveSiteParams{Slug: "fernhill", Name: "Fernhill"})
	if err != nil {
		t.Fatal(err)
	}
	sent("sqlc", 1)
	err = pgtx.Run(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		for range 2 { // the first travels with BEGIN
			if _, err := db.New(tx).ListPageTree(ctx, site.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sent("pgtx", 2)
	if _, err := List.Page(t.Context(), pool, ListArgs{Site: site.ID}, pgquery.At{Sort: "published"}); err != nil {
		t.Fatal(err)
	}
	w.UsesIndexes()
	w.NoRepeats()
	sent("pgquery", 1)
}
