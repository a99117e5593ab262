package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/host"
	"github.com/page-builder/persistence/pgpool"
	"github.com/page-builder/persistence/pgtest"
)

// client is an author's browser.
type client struct {
	t    *testing.T
	api  http.Handler
	pool *pgxpool.Pool
}

func open(t *testing.T) *client {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := db.New(pool).SaveSite(t.Context(),
		db.SaveSiteParams{Slug: "fernhill", Name: "Fernhill Library"}); err != nil {
		t.Fatal(err)
	}
	return &client{t, host.New(pool, ""), pool}
}

// TestTags looks at what the server knows of a request's queries.
func TestTags(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.do(http.StatusOK, http.MethodGet, "/sites/fernhill/pages", "")
	other, err := pgx.Connect(t.Context(), c.pool.Config().ConnString()) // the pool's connection keeps the text
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	var texts int
	err = other.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database()
		and query like $1`, "%ListPageTree%/*application='host',route='GET%20%2Fsites%2F%7Bsite%7D%2Fpages'*/").Scan(&texts)
	if err != nil || texts != 1 {
		t.Errorf("%d queries have the tags: %v", texts, err)
	}
}

// do sends a request with pairs of headers, expects a status, and returns the body's fields and the
// ETag.
func (c *client) do(want int, method, path, body string, headers ...string) (map[string]any, string) {
	c.t.Helper()
	answer := c.send(method, path, body, headers...)
	if answer.Code != want {
		c.t.Fatalf("%s %s: %d %s, want %d", method, path, answer.Code, answer.Body, want)
	}
	fields := map[string]any{}
	if b := answer.Body.Bytes(); bytes.HasPrefix(b, []byte("{")) {
		if err := json.Unmarshal(b, &fields); err != nil {
			c.t.Fatal(err)
		}
	}
	return fields, answer.Header().Get("ETag")
}

func (c *client) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(c.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("X-Actor", "maren")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	c.api.ServeHTTP(answer, r)
	return answer
}

func (c *client) create(slug string) (path, etag string) {
	c.t.Helper()
	page, etag := c.do(http.StatusCreated, "POST", "/sites/fernhill/pages",
		`{"slug": "`+slug+`", "title": "About", "blocks": [{"type": "paragraph", "text": "One."}]}`)
	return "/pages/" + page["id"].(string), etag
}

const second = `{"title": "About us", "blocks": [{"type": "paragraph", "text": "Two."}]}`

func TestEdit(t *testing.T) {
	t.Parallel()
	c := open(t)
	page, etag := c.create("about")
	if _, read := c.do(http.StatusOK, "GET", page, ""); read != etag || etag != `"1"` {
		t.Errorf("ETag %s when created, %s when read", etag, read)
	}
	if _, next := c.do(http.StatusOK, "PUT", page, second, "If-Match", etag); next != `"2"` {
		t.Errorf("ETag %s after the first edit", next)
	}
	got := c.send("PUT", page, second, "If-Match", etag)
	if got.Code != http.StatusPreconditionFailed || got.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("an edit of a state that is gone: %d %s", got.Code, got.Body)
	}
	content, _ := c.do(http.StatusOK, "GET", page, "")
	if content["title"] != "About us" || !strings.Contains(toJSON(t, content["blocks"]), "Two.") {
		t.Errorf("the page is %v", content)
	}
}

func TestPublishOnce(t *testing.T) {
	t.Parallel()
	c := open(t)
	page, etag := c.create("about")
	first, _ := c.do(http.StatusCreated, "POST", page+"/publications", "", "Idempotency-Key", "a")
	c.do(http.StatusOK, "PUT", page, second, "If-Match", etag)
	// Send the same request again, as if the answer was lost. The newest revision is different now.
	again, _ := c.do(http.StatusCreated, "POST", page+"/publications", "", "Idempotency-Key", "a")
	if first["id"] != again["id"] || again["revision"] != 1.0 {
		t.Errorf("the second try published %v, the first %v", again, first)
	}
	next, _ := c.do(http.StatusCreated, "POST", page+"/publications", `{"revision": 2}`, "Idempotency-Key", "b")
	if next["revision"] != 2.0 {
		t.Errorf("published %v", next)
	}
	c.do(http.StatusUnprocessableEntity, "POST", page+"/publications", `{"revision": 1}`, "Idempotency-Key", "b")
	other, _ := c.create("press")
	c.do(http.StatusUnprocessableEntity, "POST", other+"/publications", "", "Idempotency-Key", "b")

	for range 2 { // the second try of a rollback does not roll back further
		back, _ := c.do(http.StatusCreated, "POST", page+"/rollback", "", "Idempotency-Key", "c")
		if back["revision"] != 1.0 {
			t.Errorf("rolled back to %v", back)
		}
	}
	c.do(http.StatusNoContent, "DELETE", page+"/publications", "")
	c.do(http.StatusNotFound, "DELETE", page+"/publications", "")
	c.do(http.StatusConflict, "POST", page+"/rollback", "", "Idempotency-Key", "d")
}

func TestDeleteRestoreAndAudit(t *testing.T) {
	t.Parallel()
	c := open(t)
	page, _ := c.create("about")
	c.do(http.StatusNoContent, "DELETE", page, "")
	c.do(http.StatusNotFound, "GET", page, "")
	c.do(http.StatusNoContent, "POST", page+"/restore", "")
	c.do(http.StatusNotFound, "POST", page+"/restore", "") // it is not deleted
	c.do(http.StatusOK, "GET", page, "")

	var events []struct {
		Action, Actor string
	}
	if err := json.Unmarshal(c.send("GET", page+"/audit", "").Body.Bytes(), &events); err != nil {
		t.Fatal(err)
	}
	// Insert, first revision, delete, restore.
	if len(events) != 4 || events[0].Actor != "maren" || events[3].Action != "insert" {
		t.Errorf("the audit trail is %v", events)
	}
	var revisions []map[string]any
	if err := json.Unmarshal(c.send("GET", page+"/revisions", "").Body.Bytes(), &revisions); err != nil ||
		len(revisions) != 1 {
		t.Errorf("the revisions are %v: %v", revisions, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := open(t)
	page, etag := c.create("about")
	const none = "/pages/00000000-0000-0000-0000-000000000000"
	for name, try := range map[string]struct {
		want               int
		method, path, body string
		headers            []string
	}{
		"no If-Match":            {428, "PUT", page, second, nil},
		"an If-Match of another": {400, "PUT", page, second, []string{"If-Match", `"abc"`}},
		"no key":                 {400, "POST", page + "/publications", "", nil},
		"no JSON":                {400, "PUT", page, "title", []string{"If-Match", etag}},
		"no body":                {400, "PUT", page, "", []string{"If-Match", etag}},
		"an unknown field":       {400, "PUT", page, `{"titel": ""}`, []string{"If-Match", etag}},
		"a blank title":          {422, "PUT", page, `{"title": " "}`, []string{"If-Match", etag}},
		"blocks that are none":   {422, "PUT", page, `{"title": "A", "blocks": 1}`, []string{"If-Match", etag}},
		"a path that is taken":   {409, "POST", "/sites/fernhill/pages", `{"slug": "about", "title": "A"}`, nil},
		"a parent that is none": {422, "POST", "/sites/fernhill/pages", `{"slug": "a", "title": "A", "parent_id": "` +
			none[7:] + `"}`, nil},
		"a site that is none":  {404, "GET", "/sites/nowhere/pages", "", nil},
		"a page that is none":  {404, "GET", none, "", nil},
		"no page to edit":      {412, "PUT", none, second, []string{"If-Match", etag}},
		"no page to publish":   {404, "POST", none + "/publications", "", []string{"Idempotency-Key", "k"}},
		"an id that is none":   {404, "GET", "/pages/about", "", nil},
		"a route that is none": {404, "GET", "/nowhere", "", nil},
		"too much": {413, "PUT", page, `{"title": "` + strings.Repeat("x", 1<<20) +
			`"}`, []string{"If-Match", etag}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &client{t, c.api, c.pool}
			got := c.send(try.method, try.path, try.body, try.headers...)
			if got.Code != try.want || got.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s: %s; want %d", got.Code, got.Header().Get("Content-Type"), got.Body, try.want)
			}
		})
	}
}

// A busy pool is not the client's mistake: the answer asks the client to retry.
func TestBusyPool(t *testing.T) {
	t.Parallel()
	config := pgtest.New(t).Config()
	config.MaxConns = 1
	pool, err := pgpool.ConnectConfig(t.Context(), config, pgpool.WithAcquireTimeout(50*time.Millisecond),
		pgpool.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	conn, err := pool.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	c := &client{t, host.New(pool, ""), pool}
	got := c.send("GET", "/sites/fernhill/pages", "")
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %s, Retry-After %q", got.Code, got.Body, got.Header().Get("Retry-After"))
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
