// Package e2e_test runs both services of the example and tests them from outside, as authors and
// readers use them.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages"
	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/examples/pages/host"
	"github.com/page-builder/persistence/examples/pages/render"
	"github.com/page-builder/persistence/examples/pages/service"
	"github.com/page-builder/persistence/pgconfig"
)

// patience limits a wait that usually takes milliseconds, because the machine may be busy.
const patience = 20 * time.Second

// both holds host and render, running on one database.
type both struct {
	host, render string // URLs
	pages        []db.ListPageTreeRow
}

// serve imports and publishes the example's site and runs both services until the test ends.
func serve(t *testing.T, url string) *both {
	t.Helper()
	cfg, err := pgconfig.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	b := &both{pages: publishSite(t, cfg)}
	b.render = start(t, cfg, render.Run(""))
	b.host = start(t, cfg, host.Run(b.render))
	return b
}

func publishSite(t *testing.T, cfg pgconfig.Config) []db.ListPageTreeRow {
	t.Helper()
	direct, err := cfg.DirectConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	content, err := pages.Fernhill()
	if err != nil {
		t.Fatal(err)
	}
	site, err := pages.Import(t.Context(), conn, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := db.New(conn).ListPageTree(t.Context(), site.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tree {
		if _, err := pages.Publish(t.Context(), conn,
			pages.Publication{PageID: p.ID, Key: p.ID.String(), Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// start runs a service on a free port, and ends it with the test.
func start(t *testing.T, cfg pgconfig.Config, run func(context.Context, service.Options) error) string {
	t.Helper()
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	started, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, service.Options{
			Address: "127.0.0.1:0", Database: cfg, Logger: slog.New(slog.DiscardHandler), Drain: -1,
			Started: func(address string) { started <- "http://" + address },
		})
	}()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("the service did not end well: %v", err)
		}
	})
	select {
	case url := <-started:
		return url
	case err := <-ended:
		ended <- nil
		t.Fatalf("the service did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the service did not start in time")
	}
	return ""
}

// send makes a request and returns the status and the body.
func send(ctx context.Context, method, url, body string, headers ...string) (int, []byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, b, answer.Header, err
}

// edit saves a new revision with a text in it and publishes it. It returns the revision.
func (b *both) edit(t *testing.T, page db.ListPageTreeRow, text string) int {
	t.Helper()
	path := b.host + "/pages/" + page.ID.String()
	status, _, header, err := send(t.Context(), http.MethodGet, path, "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("read: %d %v", status, err)
	}
	status, body, _, err := send(t.Context(), http.MethodPut, path, content(text), "If-Match", header.Get("ETag"))
	if err != nil || status != http.StatusOK {
		t.Fatalf("edit: %d %s %v", status, body, err)
	}
	var saved db.PageRevision
	if err := json.Unmarshal(body, &saved); err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprintf("%s/%d", page.ID, saved.Revision)
	if status, body, _, err = send(t.Context(), http.MethodPost, path+"/publications", "", "Idempotency-Key",
		key); err != nil || status != http.StatusCreated {
		t.Fatalf("publish: %d %s %v", status, body, err)
	}
	return int(saved.Revision)
}

func content(text string) string {
	return fmt.Sprintf(`{"title": "Edited", "blocks": [{"type": "paragraph", "text": %q}]}`, text)
}

// shown returns the revision that readers of a path see, or 0 for none.
func (b *both) shown(ctx context.Context, path string) (int, error) {
	status, body, _, err := send(ctx, http.MethodGet, b.render+path, "")
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusNotFound:
		return 0, nil
	case status != http.StatusOK:
		return 0, fmt.Errorf("%s: status %d", path, status)
	}
	const mark = `data-revision="`
	_, rest, ok := bytes.Cut(body, []byte(mark))
	if !ok {
		return 0, fmt.Errorf("%s: no revision in it", path)
	}
	number, _, _ := bytes.Cut(rest, []byte(`"`))
	return strconv.Atoi(string(number))
}

// await waits until readers of a path see a revision.
func (b *both) await(t *testing.T, path string, want int) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // polls
		got, err := b.shown(t.Context(), path)
		if err == nil && got == want {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s shows revision %d, want %d: %v", path, got, want, err)
		}
	}
}
