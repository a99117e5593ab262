package db_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/examples/pages/db"
	"github.com/page-builder/persistence/migrations"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// site is a migrated database with one site and a home page.
type site struct {
	*db.Queries
	conn *pgx.Conn
	url  string
	id   uuid.UUID
	home db.Page
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{url: pgserver.Database(t)}
	s.conn = connect(t, s.url)
	s.Queries = db.New(s.conn)

	names, err := fs.Glob(migrations.FS, "*.sql")
	must(t, err)
	for _, name := range names {
		body, err := fs.ReadFile(migrations.FS, name)
		must(t, err)
		up, _, _ := strings.Cut(string(body), "---- create above / drop below ----")
		_, err = s.conn.Exec(t.Context(), up)
		must(t, err)
	}

	row, err := s.SaveSite(t.Context(), db.SaveSiteParams{Slug: "demo", Name: "Demo"})
	must(t, err)
	s.id = row.ID
	s.home = s.page(t, nil, "", 0)
	return s
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != code {
		t.Errorf("error %v, want SQLSTATE %s", err, code)
	}
}

func wantNoRow(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("error %v, want %v", err, pgx.ErrNoRows)
	}
}

func (s *site) page(t *testing.T, parent *uuid.UUID, slug string, position int32) db.Page {
	t.Helper()
	p, err := s.CreatePage(t.Context(), db.CreatePageParams{
		SiteID: s.id, ParentID: parent, Slug: slug, Title: "Page " + slug, Position: position,
	})
	must(t, err)
	return p
}

func (s *site) save(t *testing.T, page uuid.UUID, seen int32, text string) db.PageRevision {
	t.Helper()
	r, err := s.SavePageRevision(t.Context(), db.SavePageRevisionParams{
		PageID: page, SeenRevision: seen, Title: "Saved",
		Blocks: []byte(`[{"type": "paragraph", "text": "` + text + `"}]`),
	})
	must(t, err)
	return r
}

func (s *site) publish(t *testing.T, page uuid.UUID, revision int32, key string) db.Publication {
	t.Helper()
	p, err := s.PublishPage(t.Context(), db.PublishPageParams{PageID: page, Revision: revision, IdempotencyKey: key})
	must(t, err)
	return p
}

func TestSiteIsSavedBySlug(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	again, err := s.SaveSite(t.Context(), db.SaveSiteParams{Slug: "demo", Name: "Renamed"})
	must(t, err)
	found, err := s.SiteBySlug(t.Context(), "demo")
	must(t, err)
	if again.ID != s.id || found.Name != "Renamed" {
		t.Errorf("saved again: id %s, name %q; want id %s, name Renamed", again.ID, found.Name, s.id)
	}
	_, err = s.SiteBySlug(t.Context(), "unknown")
	wantNoRow(t, err)
	sites, err := s.ListSites(t.Context())
	must(t, err)
	if len(sites) != 1 {
		t.Errorf("%d sites, want 1", len(sites))
	}
}

func TestPageTreeIsListedInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.page(t, &s.home.ID, "b", 1)
	a := s.page(t, &s.home.ID, "a", 2)
	below := s.page(t, &b.ID, "below", 0)
	s.save(t, below.ID, 0, "one two three")
	s.publish(t, below.ID, 1, "key")
	s.save(t, below.ID, 1, "one two")

	tree, err := s.ListPageTree(t.Context(), s.id)
	must(t, err)
	var paths []string
	for _, p := range tree {
		paths = append(paths, p.Path)
	}
	if want := []string{"/", "/b", "/b/below", "/a"}; !slices.Equal(paths, want) {
		t.Fatalf("paths %v, want %v", paths, want)
	}
	if p := tree[2]; p.Depth != 2 || p.Revision != 2 || p.Words != 2 || p.PublishedRevision == nil ||
		*p.PublishedRevision != 1 || p.Status != "published" {
		t.Errorf("below: %+v", p)
	}
	if p := tree[3]; p.PublishedRevision != nil || p.Words != 0 || p.Status != "draft" || p.ParentID == nil ||
		*p.ParentID != s.home.ID {
		t.Errorf("a: %+v", p)
	}

	counts, err := s.CountPagesByStatus(t.Context(), s.id)
	must(t, err)
	if want := []db.CountPagesByStatusRow{
		{Status: "draft", Pages: 3}, {Status: "published", Pages: 1},
	}; !slices.Equal(counts, want) {
		t.Errorf("counts %v, want %v", counts, want)
	}

	moved, err := s.MovePage(t.Context(), db.MovePageParams{ID: b.ID, ParentID: &a.ID, Slug: "c"})
	must(t, err)
	got, err := s.PageByID(t.Context(), below.ID)
	must(t, err)
	if moved.Path != "/a/c" || got.Path != "/a/c/below" {
		t.Errorf("moved to %s, %s; want /a/c, /a/c/below", moved.Path, got.Path)
	}
	got, err = s.PageByPath(t.Context(), db.PageByPathParams{SiteID: s.id, Path: "/a/c/below"})
	must(t, err)
	if got.ID != below.ID {
		t.Errorf("by path: page %s, want %s", got.ID, below.ID)
	}
}

func TestSecondEditorIsToldThatSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if r := s.save(t, s.home.ID, 0, "first"); r.Revision != 1 {
		t.Errorf("revision %d, want 1", r.Revision)
	}
	_, err := s.SavePageRevision(t.Context(),
		db.SavePageRevisionParams{PageID: s.home.ID, SeenRevision: 0, Title: "Late", Blocks: []byte(`[]`)})
	wantNoRow(t, err)
	page, err := s.PageByID(t.Context(), s.home.ID)
	must(t, err)
	if page.Revision != 1 || page.Title != "Saved" {
		t.Errorf("page at revision %d, title %q; want 1, Saved", page.Revision, page.Title)
	}
	first, err := s.PageRevision(t.Context(), db.PageRevisionParams{PageID: s.home.ID, Revision: 1})
	must(t, err)
	if first.Body != "first" {
		t.Errorf("body %q, want first", first.Body)
	}
	s.save(t, s.home.ID, 1, "second")
	all, err := s.ListPageRevisions(t.Context(), s.home.ID)
	must(t, err)
	if len(all) != 2 || all[0].Revision != 2 {
		t.Errorf("revisions %+v, want 2 and 1", all)
	}
}

func TestSearchAndLargestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a, b := s.page(t, nil, "a", 0), s.page(t, nil, "b", 0)
	s.save(t, a.ID, 0, "the quick brown fox")
	s.save(t, b.ID, 0, "an old fox")
	s.save(t, b.ID, 1, "a dog")

	for query, want := range map[string][]string{
		`fox`: {"/a"}, `"brown fox" -dog`: {"/a"}, `dog or quick`: {"/a", "/b"}, `'); drop`: nil,
	} {
		found, err := s.SearchPages(t.Context(), db.SearchPagesParams{SiteID: s.id, Query: query, MaxPages: 10})
		must(t, err)
		var paths []string
		for _, f := range found {
			paths = append(paths, f.Path)
			if !strings.Contains(f.Excerpt, "[") {
				t.Errorf("%s: excerpt %q marks no match", query, f.Excerpt)
			}
		}
		slices.Sort(paths)
		if !slices.Equal(paths, want) {
			t.Errorf("%s: %v, want %v", query, paths, want)
		}
	}

	largest, err := s.LargestPages(t.Context(), db.LargestPagesParams{SiteID: s.id, MaxPages: 1})
	must(t, err)
	if len(largest) != 1 || largest[0].Path != "/a" || largest[0].Words != 4 || largest[0].StoredBytes == 0 {
		t.Errorf("largest %+v, want /a with 4 words", largest)
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	sum := sha256.Sum256([]byte("<svg/>"))
	asset := db.SaveAssetParams{
		SiteID: s.id, Name: "a.svg", MediaType: "image/svg+xml", ByteSize: 6, SHA256: sum[:], Location: "assets/a.svg",
	}
	saved, err := s.SaveAsset(t.Context(), asset)
	must(t, err)
	asset.Location = "elsewhere/a.svg"
	again, err := s.SaveAsset(t.Context(), asset)
	must(t, err)
	found, err := s.AssetByName(t.Context(), db.AssetByNameParams{SiteID: s.id, Name: "a.svg"})
	must(t, err)
	if again.ID != saved.ID || found.Location != "elsewhere/a.svg" || !slices.Equal(found.SHA256, sum[:]) {
		t.Errorf("saved again: %+v", found)
	}
	for _, want := range []int64{1, 0} {
		n, err := s.DeleteAsset(t.Context(), saved.ID)
		must(t, err)
		if n != want {
			t.Errorf("deleted %d assets, want %d", n, want)
		}
	}
	assets, err := s.ListAssets(t.Context(), s.id)
	must(t, err)
	if len(assets) != 0 {
		t.Errorf("assets after deletion: %+v", assets)
	}
}

func TestHealthChecks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	detail := "no answer"
	_, err := s.AddHealthCheck(t.Context(), db.AddHealthCheckParams{Component: "database", Status: "up", LatencyMS: 1})
	must(t, err)
	_, err = s.AddHealthCheck(t.Context(),
		db.AddHealthCheckParams{Component: "database", Status: "down", LatencyMS: 2, Detail: &detail})
	must(t, err)
	checks, err := s.ListHealthChecks(t.Context(), 10)
	must(t, err)
	if len(checks) != 2 || checks[0].Detail == nil || *checks[0].Detail != detail || checks[1].Detail != nil {
		t.Errorf("checks %+v", checks)
	}
}
