package pages

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtx"
)

// Import stores a site with all its pages and assets in one transaction: all of it or nothing. A
// live site with the same slug keeps its history, and its pages are replaced. progress is called
// after each page and may be nil. If the transaction runs again, it counts from the beginning.
func Import(ctx context.Context, conn pgtx.DB, content *Content, progress func(done int)) (db.Site, error) {
	return runAsActor(ctx, conn, "import", func(ctx context.Context, tx pgx.Tx) (db.Site, error) {
		q := db.New(tx)
		site, err := q.SaveSite(ctx, db.SaveSiteParams{Slug: content.Slug, Name: content.Name})
		if err != nil {
			return site, fmt.Errorf("import site %s: %w", content.Slug, err)
		}
		for _, a := range content.Assets {
			sum := sha256.Sum256(a.Data)
			_, err := q.SaveAsset(ctx, db.SaveAssetParams{
				SiteID: site.ID, Name: a.Name, MediaType: a.MediaType, ByteSize: int64(len(a.Data)),
				SHA256: sum[:], Location: a.File,
			})
			if err != nil {
				return site, fmt.Errorf("import asset %s: %w", a.Name, err)
			}
		}
		if err := removePages(ctx, q, site.ID); err != nil {
			return site, fmt.Errorf("import site %s: %w", content.Slug, err)
		}
		ids := map[string]uuid.UUID{}
		for i, p := range content.Pages {
			id, err := importPage(ctx, q, site.ID, ids, p, int32(i))
			if err != nil {
				return site, fmt.Errorf("import page %s: %w", p.Path, err)
			}
			ids[p.Path] = id
			if progress != nil {
				progress(i + 1)
			}
		}
		return site, nil
	})
}

// removePages soft-deletes the pages of an earlier import.
func removePages(ctx context.Context, q *db.Queries, site uuid.UUID) error {
	tree, err := q.ListPageTree(ctx, site)
	if err != nil {
		return err
	}
	for _, page := range tree {
		if page.ParentID != nil {
			continue // goes with its parent
		}
		if _, err := q.DeletePage(ctx, page.ID); err != nil {
			return err
		}
	}
	return nil
}

func importPage(ctx context.Context, q *db.Queries, site uuid.UUID, ids map[string]uuid.UUID,
	p PageContent, position int32,
) (uuid.UUID, error) {
	params := db.CreatePageParams{SiteID: site, Slug: path.Base(p.Path), Title: p.Title, Position: position}
	switch p.Parent {
	case "":
		params.Slug = "" // the home page
	case "/": // pages of the first level have no parent in the database
	default:
		parent, ok := ids[p.Parent]
		if !ok {
			return uuid.Nil, errors.New("its parent " + p.Parent + " does not come before it")
		}
		params.ParentID = &parent
	}
	page, err := q.CreatePage(ctx, params)
	if err != nil {
		return uuid.Nil, err
	}
	_, err = q.SavePageRevision(ctx, db.SavePageRevisionParams{PageID: page.ID, Title: p.Title, Blocks: p.Blocks})
	return page.ID, err
}
