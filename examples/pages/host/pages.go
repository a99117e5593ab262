package host

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
)

// maxEvents limits the events of the audit trail in one answer.
const maxEvents = 100

type draft struct {
	ParentID *uuid.UUID      `json:"parent_id"`
	Slug     string          `json:"slug"`
	Title    string          `json:"title"`
	Blocks   json.RawMessage `json:"blocks"`
	Position int32           `json:"position"`
}

type edit struct {
	Title  string          `json:"title"`
	Blocks json.RawMessage `json:"blocks"`
}

// content is a page with its blocks.
type content struct {
	db.Page
	Blocks json.RawMessage `json:"blocks"`
}

func (a *api) site(r *http.Request) (db.Site, error) {
	return a.queries(r).SiteBySlug(r.Context(), chi.URLParam(r, "site"))
}

func (a *api) tree(r *http.Request) (answer, error) {
	site, err := a.site(r)
	if err != nil {
		return answer{}, err
	}
	tree, err := a.queries(r).ListPageTree(r.Context(), site.ID)
	return answer{body: tree}, err
}

func (a *api) create(r *http.Request) (answer, error) {
	var d draft
	if err := decode(r, &d); err != nil {
		return answer{}, err
	}
	site, err := a.site(r)
	if err != nil {
		return answer{}, err
	}
	page, err := pages.Create(r.Context(), a.pool, pages.Draft{
		SiteID: site.ID, ParentID: d.ParentID, Slug: d.Slug, Title: d.Title, Blocks: blocks(d.Blocks),
		Position: d.Position, Actor: actor(r),
	})
	return answer{status: http.StatusCreated, body: page, revision: page.Revision}, err
}

// blocks is the content, where none is an empty one.
func blocks(b json.RawMessage) json.RawMessage {
	if b == nil {
		return json.RawMessage("[]")
	}
	return b
}

func (a *api) read(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	q := a.queries(r)
	page, err := q.PageByID(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	// A revision never changes, so this is the page's revision whatever happens in between.
	rev, err := q.PageRevision(r.Context(), db.PageRevisionParams{PageID: id, Revision: page.Revision})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return answer{}, err
	}
	return answer{body: content{page, blocks(rev.Blocks)}, revision: page.Revision}, nil
}

func (a *api) edit(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	revision, err := seen(r)
	if err != nil {
		return answer{}, err
	}
	var e edit
	if err := decode(r, &e); err != nil {
		return answer{}, err
	}
	rev, err := pages.Save(r.Context(), a.pool, pages.Edit{
		PageID: id, SeenRevision: revision, Title: e.Title, Blocks: blocks(e.Blocks), Actor: actor(r),
	})
	return answer{body: rev, revision: rev.Revision}, err
}

func (a *api) remove(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	return answer{}, pages.Delete(r.Context(), a.pool, id, actor(r))
}

func (a *api) restore(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	return answer{}, pages.Restore(r.Context(), a.pool, id, actor(r))
}

func (a *api) revisions(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	list, err := a.queries(r).ListPageRevisions(r.Context(), id)
	return answer{body: list}, err
}

func (a *api) audit(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	list, err := a.queries(r).ListAuditEventsOfPage(r.Context(),
		db.ListAuditEventsOfPageParams{PageID: id, MaxEvents: maxEvents})
	return answer{body: list}, err
}
