package e2e_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgtest"
)

func TestEveryPageIsServed(t *testing.T) {
	t.Parallel()
	b := serve(t, pgtest.URL(t))
	for _, p := range b.pages {
		status, body, header, err := send(t.Context(), http.MethodGet, b.render+p.Path, "")
		if err != nil || status != http.StatusOK || !strings.Contains(string(body), "<h1>") {
			t.Errorf("%s: %d %v", p.Path, status, err)
		}
		if status, _, _, err := send(t.Context(), http.MethodGet, b.render+p.Path, "", "If-None-Match",
			header.Get("ETag")); status != http.StatusNotModified || err != nil {
			t.Errorf("%s, asked again: %d %v", p.Path, status, err)
		}
	}
	for path, want := range map[string]int{
		"/nowhere": http.StatusNotFound, "/assets/facade.svg": http.StatusOK, "/assets/none.svg": http.StatusNotFound,
		"/readyz": http.StatusOK, "/livez": http.StatusOK, "/metrics": http.StatusOK, "/preview": http.StatusOK,
		"/preview/about": http.StatusOK,
	} {
		if status, body, _, err := send(t.Context(), http.MethodGet, b.render+path, ""); status != want || err != nil {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	_, figures, _, err := send(t.Context(), http.MethodGet, b.render+"/metrics", "")
	for _, want := range []string{
		`db_client_connection_max{db_client_connection_pool_name="render"} `,
		`http_server_request_duration_seconds_count{method="GET",route="/*",service="render",status="200"}`,
	} {
		if err != nil || !strings.Contains(string(figures), want) {
			t.Errorf("%s is not in the metrics: %v", want, err)
		}
	}
}

func TestPublicationReachesReaders(t *testing.T) {
	t.Parallel()
	b := serve(t, pgtest.URL(t))
	about := b.pages[1]
	b.await(t, about.Path, 1)
	b.await(t, about.Path, b.edit(t, about, "Edited."))

	page := b.host + "/pages/" + about.ID.String()
	if status, body, _, err := send(t.Context(), http.MethodPost, page+"/rollback", "", "Idempotency-Key",
		"back"); status != http.StatusCreated || err != nil {
		t.Fatalf("%d %s %v", status, body, err)
	}
	b.await(t, about.Path, 1)
	if status, body, _, err := send(t.Context(), http.MethodDelete, page, ""); status != http.StatusNoContent ||
		err != nil {
		t.Fatalf("%d %s %v", status, body, err)
	}
	b.await(t, about.Path, 0)
}

// A publication happens while the listener's connection is cut. The listener reconnects before the
// commit or after it. Either way readers see the publication.
func TestPublicationDuringAReconnect(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	b := serve(t, url)
	admin, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	page := b.pages[2]
	for range 3 { // each wait for the reconnect is twice as long as the one before
		b.await(t, page.Path, int(shownRevision(t, admin, page.Path)))
		tag, err := admin.Exec(t.Context(), `
			select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and query ilike 'listen%' and pid <> pg_backend_pid()`)
		if err != nil || tag.RowsAffected() == 0 {
			// It has not connected again since the last round.
			if err == nil {
				continue
			}
			t.Fatal(err)
		}
		b.await(t, page.Path, b.edit(t, page, "While nobody listens."))
	}
}

func shownRevision(t *testing.T, pool *pgxpool.Pool, path string) (revision int32) {
	t.Helper()
	err := pool.QueryRow(t.Context(), "select revision from publications where path = $1 and ended_at is null",
		path).Scan(&revision)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestEventsFollowPublications(t *testing.T) {
	t.Parallel()
	b := serve(t, pgtest.URL(t))
	page := b.pages[1]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.render+"/events?path="+page.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	next := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("the stream ended before %q: %v", want, lines.Err())
	}
	next("retry: 500")
	for range 3 {
		b.edit(t, page, "Edited.")
		next("event: changed")
	}
	b.edit(t, b.pages[2], "Another page.") // must not reach this viewer
	b.edit(t, page, "Edited.")
	next("event: changed")
}
