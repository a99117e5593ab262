package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
)

const (
	// maxBody is the largest request: a page of a hundred thousand words is below it.
	maxBody = 1 << 20
	// requestLimit limits a request. Proxies usually wait longer, so the client gets our answer.
	requestLimit = 10 * time.Second
)

// answer is the result of a handler. A zero status means 200, and a nil body means no content.
type answer struct {
	status   int
	body     any
	revision int32 // for the ETag; 0 for none
}

// handler turns a function into an http.Handler: its errors into problems, its answer into JSON.
type handler func(*http.Request) (answer, error)

func (fn handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := withLimit(r)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	a, err := fn(r.WithContext(ctx))
	if err != nil {
		problemOf(ctx, err).write(w)
		return
	}
	if a.revision != 0 {
		w.Header().Set("ETag", etag(a.revision))
	}
	if a.body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	writeJSON(w, a.status, "application/json", a.body)
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// badRequestError is a mistake of the client that was found without the database.
type badRequestError struct {
	status int
	detail string
}

func (e *badRequestError) Error() string { return e.detail }

var errNoBody = &badRequestError{http.StatusBadRequest, "the request has no body: JSON was expected"}

func pageID(r *http.Request) (uuid.UUID, error) {
	id, err := uuid.Parse(chi.URLParam(r, "page"))
	if err != nil {
		return id, &badRequestError{http.StatusNotFound, "a page's id is a UUID"}
	}
	return id, nil
}

func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &badRequestError{
			http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", tooLarge.Limit),
		}
	}
	if errors.Is(err, io.EOF) {
		return errNoBody
	}
	if err != nil {
		return &badRequestError{http.StatusBadRequest, "the request is not the JSON that was expected: " + err.Error()}
	}
	return nil
}

func actor(r *http.Request) string {
	name := strings.TrimSpace(r.Header.Get("X-Actor"))
	decoded, err := url.PathUnescape(name)
	if err == nil && utf8.ValidString(decoded) && !strings.Contains(decoded, "\x00") {
		name = decoded
	}
	if name != "" {
		return name
	}
	return "anonymous"
}

// key returns the client's idempotency key, so that a repeated request takes effect once.
func key(r *http.Request) (string, error) {
	k := r.Header.Get("Idempotency-Key")
	if k == "" || len(k) > 255 {
		return "", &badRequestError{
			http.StatusBadRequest,
			"the header Idempotency-Key is missing: 1 to 255 bytes, the same for each try of a request",
		}
	}
	return k, nil
}

func etag(revision int32) string { return `"` + strconv.Itoa(int(revision)) + `"` }

// seen returns the revision that the editor started from.
func seen(r *http.Request) (int32, error) {
	h := r.Header.Get("If-Match")
	if h == "" {
		return 0, &badRequestError{
			http.StatusPreconditionRequired, "the header If-Match is missing: the ETag of the page that was edited",
		}
	}
	n, err := strconv.ParseInt(strings.Trim(h, `"`), 10, 32)
	if err != nil || n < 0 {
		return 0, &badRequestError{http.StatusBadRequest, "If-Match is not an ETag of a page"}
	}
	return int32(n), nil
}
