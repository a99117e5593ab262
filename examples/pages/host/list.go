package host

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/pgquery"
)

func (a *api) list(r *http.Request) (answer, error) {
	q := r.URL.Query()
	site, err := a.site(r)
	if err != nil {
		return answer{}, err
	}
	args := pages.ListArgs{Site: site.ID, State: given(q, "state"), Author: given(q, "author"), Text: given(q, "text")}
	if args.Text != nil {
		*args.Text = "%" + pgquery.EscapeLike(*args.Text) + "%"
	}
	if since := given(q, "since"); since != nil {
		t, err := time.Parse(time.RFC3339, *since)
		if err != nil {
			return answer{}, &badRequestError{http.StatusBadRequest, "since is a time such as 2026-01-31T12:00:00Z"}
		}
		args.Since = &t
	}
	at := pgquery.At{Sort: q.Get("sort"), Cursor: q.Get("cursor")}
	if at.Sort == "" && at.Cursor == "" {
		at.Sort = "newest"
	}
	if size := q.Get("size"); size != "" {
		if at.Size, err = strconv.Atoi(size); err != nil {
			return answer{}, &badRequestError{http.StatusBadRequest, "size is a number"}
		}
	}
	reader := a.reader(r.Context())
	page, err := pages.List.Page(r.Context(), tag(r, reader), args, at)
	if err == nil && q.Get("details") != "" {
		err = pages.LoadDetails(r.Context(), reader, page.Rows)
	}
	return answer{body: page}, err
}

// given returns a parameter, or nil if the client sent none.
func given(q url.Values, name string) *string {
	if value := q.Get(name); value != "" {
		return &value
	}
	return nil
}

func (a *api) change(r *http.Request) (answer, error) {
	var c pages.Changes
	id, err := pageID(r)
	if err == nil {
		err = decode(r, &c)
	}
	if err != nil {
		return answer{}, err
	}
	c.ID = id
	page, err := pages.Change(r.Context(), a.pool, c, actor(r))
	return answer{body: page, revision: page.Revision}, err
}
