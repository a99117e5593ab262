package host

import (
	"errors"
	"net/http"

	"github.com/page-builder/persistence/examples/pages"
)

type publication struct {
	Revision int32 `json:"revision"`
}

func (a *api) publish(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	k, err := key(r)
	if err != nil {
		return answer{}, err
	}
	var p publication
	if err := decode(r, &p); err != nil && !errors.Is(err, errNoBody) {
		return answer{}, err
	}
	// A repeated request gets the same answer as the first: 201 and the publication that the first
	// one made.
	pub, err := pages.Publish(r.Context(), a.pool,
		pages.Publication{PageID: id, Revision: p.Revision, Key: k, Actor: actor(r)})
	return answer{status: http.StatusCreated, body: pub}, err
}

func (a *api) unpublish(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	return answer{}, pages.Unpublish(r.Context(), a.pool, id, actor(r))
}

func (a *api) rollBack(r *http.Request) (answer, error) {
	id, err := pageID(r)
	if err != nil {
		return answer{}, err
	}
	k, err := key(r)
	if err != nil {
		return answer{}, err
	}
	pub, err := pages.RollBack(r.Context(), a.pool, id, k, actor(r))
	return answer{status: http.StatusCreated, body: pub}, err
}
