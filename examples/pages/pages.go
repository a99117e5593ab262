// Package pages is the domain of the example: a page builder's sites, pages and publications on
// PostgreSQL. It shows how a service's code looks with these modules: typed queries from package
// db, and transactions that a caller may nest in its own.
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

var (
	// ErrEditConflict says that another editor saved the page after this one read it. Nothing was
	// changed; read it again.
	ErrEditConflict = errors.New("another editor changed the page in the meantime")

	// ErrNoContent says that the page does not have the requested revision, or has none at all.
	ErrNoContent = errors.New("the page has no content to publish")

	// ErrKeyReused says that the idempotency key belongs to another request: for another page, or
	// another revision of it.
	ErrKeyReused = errors.New("the idempotency key was used for something else before")

	// ErrNotFound says that there is no such live page.
	ErrNotFound = errors.New("no such page")
)

// Edit is a new revision of a page.
type Edit struct {
	PageID       uuid.UUID
	SeenRevision int32 // the revision that the editor saw; 0 for a page without any
	Title        string
	Blocks       json.RawMessage
	Actor        string // who edits, for the audit trail
}

// Save stores an edit as the page's next revision. The error is [ErrEditConflict] if the page is no
// longer at the revision that the editor saw.
func Save(ctx context.Context, conn pgtx.DB, e Edit) (db.PageRevision, error) {
	return runAsActor(ctx, conn, e.Actor, func(ctx context.Context, tx pgx.Tx) (db.PageRevision, error) {
		rev, err := db.New(tx).SavePageRevision(ctx, db.SavePageRevisionParams{
			PageID: e.PageID, SeenRevision: e.SeenRevision, Title: e.Title, Blocks: e.Blocks,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return rev, fmt.Errorf("save page %s: %w", e.PageID, ErrEditConflict)
		}
		if err != nil {
			return rev, fmt.Errorf("save page: %w", err)
		}
		return rev, nil
	})
}

// Publication asks for a revision of a page to go online.
type Publication struct {
	PageID   uuid.UUID
	Revision int32  // 0 takes the newest
	Key      string // the same for every try of one request, so that it takes effect once
	Actor    string // who publishes, for the audit trail
}

// Publish puts a revision online in place of the one that was, and marks the page published. When
// it commits, the server notifies the channel page_published.
func Publish(ctx context.Context, conn pgtx.DB, p Publication) (db.Publication, error) {
	return runAsActor(ctx, conn, p.Actor, func(ctx context.Context, tx pgx.Tx) (db.Publication, error) {
		pub, err := publish(ctx, db.New(tx), p)
		if err != nil {
			return pub, fmt.Errorf("publish page %s: %w", p.PageID, err)
		}
		return pub, nil
	})
}

func publish(ctx context.Context, q *db.Queries, p Publication) (db.Publication, error) {
	var none db.Publication
	// Lock before looking for the key: a concurrent second try waits here, and then finds the key.
	page, err := q.LockPage(ctx, p.PageID)
	if errors.Is(err, pgx.ErrNoRows) {
		return none, ErrNotFound
	}
	if err != nil {
		return none, err
	}
	done, err := q.PublicationByKey(ctx, p.Key)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return none, err
	case done.PageID != p.PageID || p.Revision != 0 && p.Revision != done.Revision:
		return none, ErrKeyReused
	default:
		return done, nil
	}
	if p.Revision == 0 {
		p.Revision = page.Revision
	}
	pub, err := q.PublishPage(ctx, db.PublishPageParams{IdempotencyKey: p.Key, PageID: p.PageID, Revision: p.Revision})
	if errors.Is(err, pgx.ErrNoRows) {
		return none, ErrNoContent
	}
	return pub, err
}

// PublishTogether puts the newest revisions of several pages online in one transaction: all of them
// or none.
func PublishTogether(ctx context.Context, conn pgtx.DB, pages []uuid.UUID, key, actor string) error {
	return pgtx.Run(ctx, conn, func(ctx context.Context, tx pgx.Tx) error {
		for _, id := range pages {
			// Elsewhere Publish runs in its own transaction. Here it is a savepoint in this one.
			_, err := Publish(ctx, tx, Publication{PageID: id, Key: key + "/" + id.String(), Actor: actor})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
