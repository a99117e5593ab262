package migrations_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgtest/pgserver"
)

// value runs a query that returns one value.
func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// refused runs a statement that must fail with the SQLSTATE and, where it is not empty, on the
// constraint.
func refused(t *testing.T, conn *pgx.Conn, code, constraint, sql string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	pgErr := (*pgconn.PgError)(nil)
	if !errors.As(err, &pgErr) || pgErr.Code != code || (constraint != "" && pgErr.ConstraintName != constraint) {
		t.Errorf("%s: error %v, want SQLSTATE %s on %q", sql, err, code, constraint)
	}
}

func newSite(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return value[string](t, conn, `insert into sites (slug, name) values ('demo', 'Demo') returning id::text`)
}

func newPage(t *testing.T, conn *pgx.Conn, site string, parent *string, slug string) string {
	t.Helper()
	return value[string](t, conn,
		`insert into pages (site_id, parent_id, slug, title) values ($1, $2, $3, 'Title') returning id::text`,
		site, parent, slug)
}

func path(t *testing.T, conn *pgx.Conn, page string) string {
	t.Helper()
	return value[string](t, conn, `select path from pages where id = $1`, page)
}

func TestPathFollowsTheTree(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	site := newSite(t, conn)
	home := newPage(t, conn, site, nil, "")
	docs := newPage(t, conn, site, &home, "docs")
	guide := newPage(t, conn, site, &docs, "guide")
	step := newPage(t, conn, site, &guide, "step")
	other := newPage(t, conn, site, nil, "other")

	for page, want := range map[string]string{
		home: "/", docs: "/docs", guide: "/docs/guide", step: "/docs/guide/step", other: "/other",
	} {
		if got := path(t, conn, page); got != want {
			t.Errorf("created: path %s, want %s", got, want)
		}
	}

	exec(t, conn, `update pages set slug = 'manual' where id = $1`, docs)
	if got := path(t, conn, step); got != "/manual/guide/step" {
		t.Errorf("after a rename two levels up: path %s", got)
	}
	exec(t, conn, `update pages set parent_id = $2 where id = $1`, guide, other)
	if got := path(t, conn, step); got != "/other/guide/step" {
		t.Errorf("after a move of the parent: path %s", got)
	}
	exec(t, conn, `update pages set parent_id = null where id = $1`, guide)
	if got := path(t, conn, step); got != "/guide/step" {
		t.Errorf("after a move of the parent to the first level: path %s", got)
	}

	refused(t, conn, "23503", "pages_parent_fkey", `update pages set parent_id = $2 where id = $1`, guide, step)
	refused(t, conn, "23503", "pages_parent_fkey", `update pages set parent_id = id where id = $1`, guide)
	refused(t, conn, "23503", "pages_parent_fkey", `update pages set parent_path = '/elsewhere' where id = $1`, step)
	exec(t, conn, `update pages set path = '/forged' where id = $1`, step)
	refused(t, conn, "23514", "pages_slug_format", `update pages set slug = '' where id = $1`, step)
	refused(t, conn, "23514", "pages_slug_format", `update pages set slug = 'a/b' where id = $1`, step)
	if got := path(t, conn, step); got != "/guide/step" {
		t.Errorf("after refused changes: path %s", got)
	}

	elsewhere := value[string](t, conn,
		`insert into sites (slug, name) values ('elsewhere', 'Elsewhere') returning id::text`)
	refused(t, conn, "23503", "pages_parent_fkey",
		`insert into pages (site_id, parent_id, slug, title) values ($1, $2, 'x', 'Title')`, elsewhere, home)
}

// An edit of a page must not wait for a transaction that refers to it, nor the reverse: only a
// change of its key may.
func TestEditDoesNotBlockReferences(t *testing.T) {
	t.Parallel()
	url := pgserver.Database(t)
	conn, second := connectTo(t, url), connectTo(t, url)
	for _, m := range load(t) {
		run(t, conn, m.name+" up", m.up)
	}
	site := newSite(t, conn)
	home := newPage(t, conn, site, nil, "")

	err := pgx.BeginFunc(t.Context(), conn, func(pgx.Tx) error {
		exec(t, conn, `update pages set title = 'Being edited', revision = 1 where id = $1`, home)
		exec(t, second, `set lock_timeout = '5s'`)
		newPage(t, second, site, &home, "below")
		exec(t, second, `insert into page_revisions (page_id, revision, title, blocks) values ($1, 1, 'Title', '[]')`,
			home)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSoftDeletedNamesCanBeUsedAgain(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	site := newSite(t, conn)
	page := newPage(t, conn, site, nil, "about")
	const again = `insert into pages (site_id, slug, title) values ($1, 'about', 'Again')`

	refused(t, conn, "23505", "pages_path_live", again, site)
	exec(t, conn, `update pages set deleted_at = now() where id = $1`, page)
	exec(t, conn, again, site)
	refused(t, conn, "23505", "pages_path_live", `update pages set deleted_at = null where id = $1`, page)
	refused(t, conn, "23503", "pages_parent_fkey",
		`insert into pages (site_id, parent_id, slug, title) values ($1, $2, 'below', 'Below a deleted page')`,
		site, page)

	refused(t, conn, "23505", "sites_slug_live", `insert into sites (slug, name) values ('demo', 'Again')`)
	exec(t, conn, `update sites set deleted_at = now() where id = $1`, site)
	exec(t, conn, `insert into sites (slug, name) values ('demo', 'Again')`)
}

func TestStampsSayWhoAndWhen(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	site := newSite(t, conn)
	if got, want := value[string](t, conn, `select created_by from sites`), value[string](t, conn,
		`select current_user::text`); got != want {
		t.Errorf("created_by without app.actor: %q, want the role %q", got, want)
	}

	var page string
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `select set_config('app.actor', 'ann', true)`); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), `
			insert into pages (site_id, slug, title, created_at, created_by, updated_at)
			values ($1, 'a', 'A', '2001-01-01', 'forged', '2001-01-01') returning id::text`, site).Scan(&page)
	})
	if err != nil {
		t.Fatal(err)
	}
	const stamps = `select created_by || ' ' || (created_at > '2002-01-01') || ' ' || (updated_at = created_at)
		from pages where id = $1`
	if got := value[string](t, conn, stamps, page); got != "ann true true" {
		t.Errorf("after insert: created_by, created_at is now, updated_at is created_at: %s", got)
	}
	exec(t, conn, `update pages set title = 'B', created_by = 'forged', created_at = '2001-01-01',
		updated_at = '2001-01-01' where id = $1`, page)
	if got := value[string](t, conn, stamps, page); got != "ann true false" {
		t.Errorf("after update: created_by, created_at is kept, updated_at is created_at: %s", got)
	}
}

func TestRevisionsAreImmutableAndCountTheirWords(t *testing.T) {
	t.Parallel()
	conn := migrated(t)
	page := newPage(t, conn, newSite(t, conn), nil, "a")
	exec(t, conn, `insert into page_revisions (page_id, revision, title, blocks) values ($1, 1, 'Title', $2)`, page, `[
		{"type": "heading", "level": 2, "text": "Two words"},
		{"type": "columns", "columns": [
			[{"type": "paragraph", "text": "on  the left"}],
			[{"type": "list", "ordered": false, "items": ["first", "second item"]}]]},
		{"type": "section", "title": "Section", "blocks": [
			{"type": "callout", "tone": "tip", "blocks": [{"type": "quote", "text": "quoted", "cite": "Somebody"}]}]},
		{"type": "image", "asset": "file.svg", "alt": "not counted", "caption": "A caption"},
		{"type": "code", "language": "go", "text": "x := 1"}]`)

	want := "Two words\non  the left\nfirst second item\nSection\nquoted Somebody\nA caption\nx := 1"
	if got := value[string](t, conn, `select body from page_revisions`); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if got := value[int](t, conn, `select words from page_revisions`); got != 16 {
		t.Errorf("words %d, want 16", got)
	}
	exec(t, conn, `insert into page_revisions (page_id, revision, title, blocks) values ($1, 2, 'Title', '[]')`, page)
	if got := value[int](t, conn, `select words from page_revisions where revision = 2`); got != 0 {
		t.Errorf("words of an empty page %d, want 0", got)
	}

	refused(t, conn, "23001", "", `update page_revisions set title = 'Other'`)
	refused(t, conn, "23001", "", `delete from page_revisions`)
	refused(t, conn, "23001", "", `truncate page_revisions cascade`)
	refused(t, conn, "23514", "page_revisions_blocks_array",
		`insert into page_revisions (page_id, revision, title, blocks) values ($1, 3, 'Title', '{}')`, page)
	refused(t, conn, "23505", "page_revisions_pkey",
		`insert into page_revisions (page_id, revision, title, blocks) values ($1, 2, 'Title', '[]')`, page)
}
