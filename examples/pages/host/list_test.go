package host_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// paths returns the paths of a page of the list, and its cursors.
func (c *client) paths(query string) (paths, next, prev string) {
	c.t.Helper()
	page, _ := c.do(http.StatusOK, "GET", "/sites/fernhill/list?"+query, "")
	for _, row := range page["rows"].([]any) {
		paths += row.(map[string]any)["path"].(string) + " "
	}
	next, _ = page["next"].(string)
	prev, _ = page["prev"].(string)
	return strings.TrimSpace(paths), next, prev
}

func TestList(t *testing.T) {
	t.Parallel()
	c := open(t)
	for i := range 25 {
		c.create(fmt.Sprintf("p%02d", i))
	}
	page, _ := c.create("press")
	c.do(http.StatusCreated, "POST", page+"/publications", "", "Idempotency-Key", "a")

	first, next, prev := c.paths("sort=path")
	if !strings.HasPrefix(first, "/p00 /p01") || next == "" || prev != "" {
		t.Errorf("%s, %q, %q", first, next, prev)
	}
	rest, _, prev := c.paths("cursor=" + next)
	if rest != "/p20 /p21 /p22 /p23 /p24 /press" {
		t.Error(rest)
	}
	if again, _, _ := c.paths("cursor=" + prev); again != first {
		t.Errorf("back at %s", again)
	}
	for query, want := range map[string]string{
		"state=published":                         "/press",
		"sort=published&size=100&text=pRess":      "/press",
		"text=%25":                                "",
		"text=p0_":                                "",
		"author=somebody":                         "",
		"since=2100-01-01T00:00:00Z":              "",
		"sort=state&state=published&author=maren": "/press",
		"text=" + url.QueryEscape(`'; drop table pages; --`): "",
	} {
		if got, _, _ := c.paths(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{
		"sort=oldest", "size=21", "size=x", "since=x", "cursor=AAAA",
		"sort=newest&cursor=" + next, "text=%00", "author=%ff",
	} {
		if got := c.send("GET", "/sites/fernhill/list?"+query, ""); got.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.Code, got.Body)
		}
	}
	details, _ := c.do(http.StatusOK, "GET", "/sites/fernhill/list?details=1&sort=published", "")
	if row := details["rows"].([]any)[0].(map[string]any); len(row["revisions"].([]any)) != 1 ||
		len(row["publications"].([]any)) != 1 {
		t.Errorf("%v", row)
	}
	if table := c.send("GET", "/sites/fernhill/table", ""); table.Code != http.StatusOK ||
		!strings.Contains(table.Body.String(), "<table>") {
		t.Errorf("%d", table.Code)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	c := open(t)
	page, _ := c.create("about")
	c.create("press")
	changed, _ := c.do(http.StatusOK, "PATCH", page, `{"status": "review", "position": 3}`)
	if changed["status"] != "review" || changed["position"] != 3.0 || changed["slug"] != "about" {
		t.Errorf("%v", changed)
	}
	if same, _ := c.do(http.StatusOK, "PATCH", page, `{}`); same["status"] != "review" {
		t.Errorf("%v", same)
	}
	if moved, _ := c.do(http.StatusOK, "PATCH", page, `{"slug": "who", "parent_id": null}`); moved["path"] != "/who" {
		t.Errorf("%v", moved)
	}
	for body, want := range map[string]struct {
		status int
		rule   any
	}{
		`{"slug": "press"}`:        {http.StatusConflict, "path_taken"},
		`{"slug": "A B"}`:          {http.StatusUnprocessableEntity, "slug_format"},
		`{"status": "gone"}`:       {http.StatusUnprocessableEntity, "status_unknown"},
		`{"slug": null}`:           {http.StatusBadRequest, nil},
		`{"slug": "a\u0000"}`:      {http.StatusBadRequest, nil},
		`{"title": "A"}`:           {http.StatusBadRequest, nil},
		`{"parent_id": "nowhere"}`: {http.StatusBadRequest, nil},
	} {
		if got, _ := c.do(want.status, "PATCH", page, body); got["rule"] != want.rule {
			t.Errorf("%s: %v", body, got)
		}
	}
	c.do(http.StatusNotFound, "PATCH", "/pages/00000000-0000-0000-0000-000000000000", `{"status": "draft"}`)
}
