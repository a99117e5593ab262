package db_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/examples/pages/db"
)

func TestPublishAndRollBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	page := s.page(t, nil, "a", 0)
	at := db.CurrentPublicationParams{SiteID: s.id, Path: "/a"}
	s.save(t, page.ID, 0, "first")
	s.save(t, page.ID, 1, "second")

	_, err := s.CurrentPublication(t.Context(), at)
	wantNoRow(t, err)
	first := s.publish(t, page.ID, 1, "key-1")
	_, err = s.FormerRevision(t.Context(), page.ID)
	wantNoRow(t, err)
	s.publish(t, page.ID, 2, "key-2")

	shown, err := s.CurrentPublication(t.Context(), at)
	must(t, err)
	if shown.Revision != 2 || !strings.Contains(string(shown.Blocks), "second") || shown.Words != 1 {
		t.Errorf("shown: %+v", shown)
	}
	former, err := s.FormerRevision(t.Context(), page.ID)
	must(t, err)
	s.publish(t, page.ID, former, "key-3")
	shown, err = s.CurrentPublication(t.Context(), at)
	must(t, err)
	if shown.Revision != 1 {
		t.Errorf("rolled back to revision %d, want 1", shown.Revision)
	}

	history, err := s.ListPagePublications(t.Context(), page.ID)
	must(t, err)
	var revisions []int32
	for _, h := range history {
		revisions = append(revisions, h.Revision)
	}
	if !slices.Equal(revisions, []int32{1, 2, 1}) || history[0].EndedAt != nil || history[1].EndedAt == nil ||
		history[2].ID != first.ID {
		t.Errorf("history %+v", history)
	}

	_, err = s.PublishPage(t.Context(), db.PublishPageParams{PageID: page.ID, Revision: 2, IdempotencyKey: "key-1"})
	wantCode(t, err, "23505")
	done, err := s.PublicationByKey(t.Context(), "key-1")
	must(t, err)
	current, err := s.CurrentPublicationOfPage(t.Context(), page.ID)
	must(t, err)
	if done.ID != first.ID || current.IdempotencyKey != "key-3" {
		t.Errorf("a used key: found %s, current is %s; want %s, key-3", done.ID, current.IdempotencyKey, first.ID)
	}
	_, err = s.PublishPage(t.Context(), db.PublishPageParams{PageID: page.ID, Revision: 9, IdempotencyKey: "key-4"})
	wantNoRow(t, err)

	online, err := s.ListCurrentPublications(t.Context(), s.id)
	must(t, err)
	if len(online) != 1 || online[0].Path != "/a" {
		t.Errorf("online %+v", online)
	}

	_, err = s.UnpublishPage(t.Context(), page.ID)
	must(t, err)
	_, err = s.UnpublishPage(t.Context(), page.ID)
	wantNoRow(t, err)
	_, err = s.CurrentPublication(t.Context(), at)
	wantNoRow(t, err)
	if p, err := s.PageByID(t.Context(), page.ID); err != nil || p.Status != "draft" {
		t.Errorf("unpublished: status %q, error %v; want draft", p.Status, err)
	}
}

// Two clients publish the same page at once. The second one's transaction is older, so it ends a
// publication younger than itself.
func TestPublishersOfOnePageTakeTurns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.save(t, s.home.ID, 0, "first")
	publish := func(tx pgx.Tx, key string) error {
		q := s.WithTx(tx)
		if _, err := q.LockPage(t.Context(), s.home.ID); err != nil {
			return err
		}
		_, err := q.PublishPage(t.Context(), db.PublishPageParams{PageID: s.home.ID, Revision: 1, IdempotencyKey: key})
		return err
	}

	slow := connect(t, s.url)
	slowTx, err := slow.Begin(t.Context())
	must(t, err)
	tx, err := s.conn.Begin(t.Context())
	must(t, err)
	must(t, publish(tx, "fast"))

	done := make(chan error, 1)
	go func() { done <- publish(slowTx, "slow") }()
	watcher := connect(t, s.url)
	limit := time.Now().Add(10 * time.Second)
	for waiting := false; !waiting; {
		must(t, watcher.QueryRow(t.Context(), `select cardinality(pg_blocking_pids($1)) > 0`,
			slow.PgConn().PID()).Scan(&waiting))
		if time.Now().After(limit) {
			t.Fatal("the second publisher does not wait for the first one")
		}
	}
	must(t, tx.Commit(t.Context()))
	select {
	case err = <-done:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the second publisher still waits 10 s after the first one's commit")
	}
	must(t, slowTx.Commit(t.Context()))

	current, err := s.CurrentPublicationOfPage(t.Context(), s.home.ID)
	must(t, err)
	if current.IdempotencyKey != "slow" {
		t.Errorf("current publication %s, want slow", current.IdempotencyKey)
	}
}

func TestDeleteAndRestoreASubtree(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.page(t, nil, "a", 0)
	b := s.page(t, &a.ID, "b", 0)
	gone := s.page(t, &a.ID, "gone", 0)
	s.save(t, b.ID, 0, "text")
	s.publish(t, b.ID, 1, "key")

	remove := func(want ...string) {
		t.Helper()
		paths, err := s.DeletePage(t.Context(), a.ID)
		must(t, err)
		if slices.Sort(paths); !slices.Equal(paths, want) {
			t.Errorf("deleted %v, want %v", paths, want)
		}
	}
	_, err := s.DeletePage(t.Context(), gone.ID)
	must(t, err)
	remove("/a", "/a/b")
	remove()
	_, err = s.CurrentPublicationOfPage(t.Context(), b.ID)
	wantNoRow(t, err)

	// A child cannot come back alone. The parent brings back the pages deleted with it, not those
	// deleted before.
	if paths, err := s.RestorePage(t.Context(), b.ID); err != nil || len(paths) != 0 {
		t.Errorf("restored %v, error %v; want nothing", paths, err)
	}
	paths, err := s.RestorePage(t.Context(), a.ID)
	must(t, err)
	if slices.Sort(paths); !slices.Equal(paths, []string{"/a", "/a/b"}) {
		t.Errorf("restored %v, want /a and /a/b", paths)
	}
	if p, err := s.PageByID(t.Context(), b.ID); err != nil || p.Status != "draft" {
		t.Errorf("restored: status %q, error %v; want draft", p.Status, err)
	}

	remove("/a", "/a/b")
	s.page(t, nil, "a", 0)
	_, err = s.RestorePage(t.Context(), a.ID)
	wantCode(t, err, "23505")
}

func TestAuditTrailOfAPageNamesTheActor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	boom := errors.New("rolled back")
	edit := func(actor, text string, seen int32, result error) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), s.conn, func(tx pgx.Tx) error {
			must(t, s.WithTx(tx).SetActor(t.Context(), actor))
			s.save(t, s.home.ID, seen, text)
			return result
		})
		if !errors.Is(err, result) {
			t.Fatalf("error %v, want %v", err, result)
		}
	}
	edit("ann", "first", 0, nil)
	edit("bob", "lost", 1, boom)
	s.publish(t, s.home.ID, 1, "key")

	events, err := s.ListAuditEventsOfPage(t.Context(),
		db.ListAuditEventsOfPageParams{PageID: s.home.ID, MaxEvents: 10})
	must(t, err)
	var role string
	must(t, s.conn.QueryRow(t.Context(), `select current_user`).Scan(&role))
	var got []string
	for _, e := range events {
		got = append(got, e.TableName+" "+e.Action+" "+e.Actor)
	}
	// The order of two changes made by one statement is PostgreSQL's.
	if len(got) == 4 {
		slices.Sort(got[:2])
	}
	want := []string{"pages update " + role, "publications insert " + role, "pages update ann", "pages insert " + role}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if last := events[len(events)-1]; last.Before != nil || !strings.Contains(string(last.After), s.home.ID.String()) {
		t.Errorf("first event %+v", last)
	}
	all, err := s.ListAuditEvents(t.Context(), 2)
	must(t, err)
	if len(all) != 2 || all[0].ID <= all[1].ID {
		t.Errorf("newest two events: %+v", all)
	}
}
