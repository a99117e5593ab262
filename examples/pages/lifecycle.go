package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/pgtx"
)

// Draft is a page that does not exist yet.
type Draft struct {
	SiteID   uuid.UUID
	ParentID *uuid.UUID // nil for a page of the first level
	Slug     string     // "" for the home page
	Title    string
	Blocks   json.RawMessage
	Position int32
	Actor    string
}

// Create makes a page and its first revision, or neither.
func Create(ctx context.Context, conn pgtx.DB, d Draft) (db.Page, error) {
	return runAsActor(ctx, conn, d.Actor, func(ctx context.Context, tx pgx.Tx) (db.Page, error) {
		page, err := db.New(tx).CreatePage(ctx, db.CreatePageParams{
			SiteID: d.SiteID, ParentID: d.ParentID, Slug: d.Slug, Title: d.Title, Position: d.Position,
		})
		if err != nil {
			return page, fmt.Errorf("create page: %w", err)
		}
		// Save is a savepoint of this transaction.
		rev, err := Save(ctx, tx, Edit{PageID: page.ID, Title: d.Title, Blocks: d.Blocks, Actor: d.Actor})
		page.Revision = rev.Revision
		return page, err
	})
}

// RollBack puts the previous online revision back online. The key works as in [Publish]: a repeated
// request does not roll back one step more. The error is [ErrNoContent] if there is no former
// revision.
func RollBack(ctx context.Context, conn pgtx.DB, page uuid.UUID, key, actor string) (db.Publication, error) {
	return pgtx.Value(ctx, conn, func(ctx context.Context, tx pgx.Tx) (db.Publication, error) {
		q := db.New(tx)
		var none db.Publication
		if _, err := q.LockPage(ctx, page); err != nil {
			return none, fmt.Errorf("roll back page %s: %w", page, found(err))
		}
		if done, err := q.PublicationByKey(ctx, key); err == nil && done.PageID == page {
			return done, nil
		}
		former, err := q.FormerRevision(ctx, page)
		if errors.Is(err, pgx.ErrNoRows) {
			err = ErrNoContent
		}
		if err != nil {
			return none, fmt.Errorf("roll back page %s: %w", page, err)
		}
		return Publish(ctx, tx, Publication{PageID: page, Revision: former, Key: key, Actor: actor})
	})
}

// Unpublish takes a page offline; visitors get "not found". It stays as a draft. The error is
// [ErrNotFound] if it is not online.
func Unpublish(ctx context.Context, conn pgtx.DB, page uuid.UUID, actor string) error {
	return change(ctx, conn, "unpublish", page, actor, func(ctx context.Context, q *db.Queries) error {
		_, err := q.UnpublishPage(ctx, page)
		return found(err)
	})
}

// Delete takes a page and all pages below it offline and hides them from the authors. Nothing is
// lost: see [Restore].
func Delete(ctx context.Context, conn pgtx.DB, page uuid.UUID, actor string) error {
	return change(ctx, conn, "delete", page, actor, func(ctx context.Context, q *db.Queries) error {
		if _, err := q.LockPage(ctx, page); err != nil {
			return found(err)
		}
		_, err := q.DeletePage(ctx, page)
		return err
	})
}

// Restore brings a deleted page back, with the pages that were deleted together with it, all as
// drafts.
func Restore(ctx context.Context, conn pgtx.DB, page uuid.UUID, actor string) error {
	return change(ctx, conn, "restore", page, actor, func(ctx context.Context, q *db.Queries) error {
		paths, err := q.RestorePage(ctx, page)
		if err == nil && len(paths) == 0 {
			err = ErrNotFound
		}
		return err
	})
}

func change(
	ctx context.Context, conn pgtx.DB, what string, page uuid.UUID, actor string,
	fn func(context.Context, *db.Queries) error,
) error {
	_, err := runAsActor(ctx, conn, actor, func(ctx context.Context, tx pgx.Tx) (struct{}, error) {
		err := fn(ctx, db.New(tx))
		if err != nil {
			err = fmt.Errorf("%s page %s: %w", what, page, err)
		}
		return struct{}{}, err
	})
	return err
}

func found(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
