package pages_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtest"
)

// fernhill is a database with the example's site.
func fernhill(t *testing.T) (*pgxpool.Pool, db.Site) {
	t.Helper()
	pool := pgtest.New(t)
	content, err := pages.Fernhill()
	if err != nil {
		t.Fatal(err)
	}
	site, err := pages.Import(t.Context(), pool, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pool, site
}

func page(t *testing.T, pool *pgxpool.Pool, site db.Site, path string) db.Page {
	t.Helper()
	p, err := db.New(pool).PageByPath(t.Context(), db.PageByPathParams{SiteID: site.ID, Path: path})
	if err != nil {
		t.Fatalf("page %s: %v", path, err)
	}
	return p
}

func TestImportKeepsTheTree(t *testing.T) {
	t.Parallel()
	pool, site := fernhill(t)
	content, err := pages.Fernhill()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := db.New(pool).ListPageTree(t.Context(), site.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) != len(content.Pages) || len(tree) < 30 {
		t.Fatalf("%d pages of %d", len(tree), len(content.Pages))
	}
	for i, p := range content.Pages {
		if tree[i].Path != p.Path || tree[i].Title != p.Title || tree[i].Words == 0 {
			t.Errorf("page %d is %s %q with %d words, want %s %q", i, tree[i].Path, tree[i].Title,
				tree[i].Words, p.Path, p.Title)
		}
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	content, err := pages.Fernhill()
	if err != nil {
		t.Fatal(err)
	}
	content.Pages[40].Parent = "/nowhere"
	if _, err := pages.Import(t.Context(), pool, content, nil); err == nil {
		t.Fatal("a page without a parent was imported")
	}
	sites, err := db.New(pool).ListSites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(sites) != 0 {
		t.Errorf("left behind: %v", sites)
	}
}

func TestPublishTogetherIsAllOrNothing(t *testing.T) {
	t.Parallel()
	pool, site := fernhill(t)
	q := db.New(pool)
	home := page(t, pool, site, "/")
	empty, err := q.CreatePage(t.Context(),
		db.CreatePageParams{SiteID: site.ID, Slug: "soon", Title: "Soon", Position: 99})
	if err != nil {
		t.Fatal(err)
	}
	err = pages.PublishTogether(t.Context(), pool, []uuid.UUID{home.ID, empty.ID}, "k", "ann")
	if !errors.Is(err, pages.ErrNoContent) {
		t.Fatalf("got %v", err)
	}
	if online, err := q.ListCurrentPublications(t.Context(), site.ID); err != nil || len(online) != 0 {
		t.Fatalf("%d online, %v", len(online), err)
	}
	if status := page(t, pool, site, "/").Status; status == "published" {
		t.Error("the status was not rolled back")
	}
}

// One request, sent many times at once, publishes once.
func TestPublishOncePerKey(t *testing.T) {
	t.Parallel()
	pool, site := fernhill(t)
	home := page(t, pool, site, "/")
	var (
		wg  sync.WaitGroup
		got [8]db.Publication
	)
	for i := range got {
		wg.Go(func() {
			var err error
			got[i], err = pages.Publish(t.Context(), pool,
				pages.Publication{PageID: home.ID, Key: "once", Actor: "ann"})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range got {
		if p.ID != got[0].ID {
			t.Errorf("publications %s and %s", p.ID, got[0].ID)
		}
	}
	all, err := db.New(pool).ListPagePublications(t.Context(), home.ID)
	if err != nil || len(all) != 1 || all[0].PublishedBy != "ann" {
		t.Errorf("%v, %v", all, err)
	}
}

// If several editors saw the same revision, one wins and the others get ErrEditConflict.
func TestSaveDetectsConflicts(t *testing.T) {
	t.Parallel()
	pool, site := fernhill(t)
	home := page(t, pool, site, "/")
	save := func(ctx context.Context) error {
		_, err := pages.Save(ctx, pool, pages.Edit{
			PageID: home.ID, SeenRevision: home.Revision, Title: "New", Blocks: json.RawMessage(`[]`), Actor: "ann",
		})
		return err
	}
	errs := make(chan error, 6)
	for range cap(errs) {
		go func() { errs <- save(t.Context()) }()
	}
	won := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, pages.ErrEditConflict):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d editors won", won)
	}
	if got := page(t, pool, site, "/").Revision; got != home.Revision+1 {
		t.Errorf("revision %d after %d", got, home.Revision)
	}
}
