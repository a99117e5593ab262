package migrations_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

const (
	publish = `insert into publications (site_id, page_id, revision, path, idempotency_key)
		select site_id, id, $2, path, $3 from pages where id = $1`
	end = `update publications set ended_at = greatest(now(), published_at), ended_by = actor() where page_id = $1
		and ended_at is null`
)

// newRevisions creates a page with two revisions.
func newRevisions(t *testing.T, conn *pgx.Conn, site, slug string) string {
	t.Helper()
	page := newPage(t, conn, site, nil, slug)
	exec(t, conn, `insert into page_revisions (page_id, revision, title, blocks) values ($1, 1, 'One', '[]'), ($1,
		2, 'Two', '[]')`, page)
	return page
}

func TestOneCurrentPublication(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	site := newSite(t, conn)
	page, other := newRevisions(t, conn, site, "a"), newRevisions(t, conn, site, "b")

	exec(t, conn, publish, page, 1, "key-1")
	refused(t, conn, "23505", "publications_page_current", publish, page, 2, "key-2")
	refused(t, conn, "23505", "publications_idempotency_key_key", publish, other, 1, "key-1")
	refused(t, conn, "23503", "publications_revision_fkey", publish, other, 3, "key-3")
	refused(t, conn, "23505", "publications_path_current",
		`insert into publications (site_id, page_id, revision, path, idempotency_key)
		select site_id, id, 1, '/a', 'key-4' from pages where id = $1`, other)

	refused(t, conn, "23001", "", `update publications set revision = 2`)
	exec(t, conn, end, page)
	refused(t, conn, "23001", "", `update publications set ended_at = null, ended_by = null`)
	exec(t, conn, publish, page, 2, "key-2")
}

func TestPublicationIsNotified(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	conn, listener := connectTo(t, url), connectTo(t, url)
	for _, m := range load(t) {
		run(t, conn, m.name+" up", m.up)
	}
	site := newSite(t, conn)
	page := newRevisions(t, conn, site, "a")
	exec(t, listener, `listen page_published`)

	type message struct {
		SiteID, PageID, Path string
		Revision             *int
	}
	next := func() message {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("wait for a notification: %v", err)
		}
		var raw struct {
			SiteID   string `json:"site_id"`
			PageID   string `json:"page_id"`
			Path     string `json:"path"`
			Revision *int   `json:"revision"`
		}
		if err := json.Unmarshal([]byte(n.Payload), &raw); err != nil {
			t.Fatalf("payload %s: %v", n.Payload, err)
		}
		return message(raw)
	}
	expect := func(path string, revision int) {
		t.Helper()
		got, shown := next(), 0
		if got.Revision != nil {
			shown = *got.Revision
		}
		if got.SiteID != site || got.PageID != page || got.Path != path || shown != revision {
			t.Errorf("notified of site %s page %s path %s revision %d, want %s %s %s %d",
				got.SiteID, got.PageID, got.Path, shown, site, page, path, revision)
		}
	}
	inTx := func(fn func(tx pgx.Tx)) {
		t.Helper()
		if err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}

	exec(t, conn, publish, page, 1, "key-1")
	expect("/a", 1)
	// Replaced in one transaction: one message. If there were another, the next expectation would
	// meet it.
	inTx(func(pgx.Tx) {
		exec(t, conn, end, page)
		exec(t, conn, publish, page, 2, "key-2")
	})
	expect("/a", 2)
	// Published under another path: the old path shows nothing, the new one does.
	exec(t, conn, `update pages set slug = 'b' where id = $1`, page)
	inTx(func(pgx.Tx) {
		exec(t, conn, end, page)
		exec(t, conn, publish, page, 2, "key-3")
	})
	expect("/a", 0)
	expect("/b", 2)
	// Rolled back: no message.
	_ = pgx.BeginFunc(t.Context(), conn, func(pgx.Tx) error { exec(t, conn, end, page); return context.Canceled })
	exec(t, conn, end, page)
	expect("/b", 0)
}

func TestAuditTrail(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	site := newSite(t, conn)
	page := newRevisions(t, conn, site, "a")

	err := pgx.BeginFunc(t.Context(), conn, func(pgx.Tx) error {
		exec(t, conn, `select set_config('app.actor', 'ann', true)`)
		exec(t, conn, `update pages set title = 'New title' where id = $1`, page)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, publish, page, 1, "key-1")
	exec(t, conn, `delete from publications`)

	rows, err := conn.Query(t.Context(), `
		select concat_ws(' ', table_name, action, case when actor = current_user then 'the role' else actor end,
		  before ->> 'title', '->', after ->> 'title')
		from audit_events
		where row_id in ($1, $2) or table_name = 'publications'
		order by id`, site, page)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	assertSame(t, "audit trail", []string{
		"sites insert the role ->",
		"pages insert the role -> Title",
		"pages update ann Title -> New title",
		"publications insert the role ->",
		"publications delete the role ->",
	}, got)

	refused(t, conn, "23001", "", `update audit_events set actor = 'nobody'`)
	refused(t, conn, "23001", "", `delete from audit_events`)
	refused(t, conn, "23001", "", `truncate audit_events`)
	refused(t, conn, "23001", "", `truncate publications`)
	refused(t, conn, "23001", "", `truncate assets`)
	refused(t, conn, "23001", "", `truncate sites cascade`)
}

func TestHealthChecks(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	exec(t, conn, `insert into health_checks (component, status, latency_ms) values ('database', 'up', 3)`)
	refused(t, conn, "23514", "health_checks_status_known",
		`insert into health_checks (component, status, latency_ms) values ('database', 'fine', 3)`)
	if got := value[int](t, conn, `select count(*) from health_checks where checked_at <= now()`); got != 1 {
		t.Errorf("%d health checks, want 1", got)
	}
}
