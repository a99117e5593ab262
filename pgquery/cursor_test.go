package pgquery_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
)

// nothing fails the test if anything is sent.
type nothing struct{ t *testing.T }

func (n nothing) Query(context.Context, string, ...any) (pgx.Rows, error) {
	n.t.Error("a query was sent")
	return nil, errors.New("a query was sent")
}

func refusedCursor(t *testing.T, err error, reason string) {
	t.Helper()
	var refused *pgquery.CursorError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, reason) {
		t.Errorf("%v, want a CursorError that it %s", err, reason)
	}
	if pgerr.Of(err) != pgerr.Data {
		t.Errorf("category %q", pgerr.Of(err))
	}
}

// cursors returns one cursor of each sort, that leads forward.
func cursors(t *testing.T, db pgquery.DB, pages *pgquery.List[pageArgs, pageRow]) map[string]string {
	t.Helper()
	all := map[string]string{}
	for sort := range pages.Sorts {
		page, err := pages.Page(t.Context(), db, pageArgs{Site: 1}, pgquery.At{Sort: sort})
		if err != nil {
			t.Fatal(err)
		}
		all[sort] = page.Next
	}
	return all
}

func TestCursorRefusals(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	made := cursors(t, pool, pages)
	newest := made["newest"]
	refused := func(list *pgquery.List[pageArgs, pageRow], sort, cursor, reason string) {
		t.Helper()
		_, err := list.Page(t.Context(), nothing{t}, pageArgs{Site: 1}, pgquery.At{Sort: sort, Cursor: cursor})
		refusedCursor(t, err, reason)
	}
	refused(pages, "due", newest, "belongs to the sort newest")
	refused(pages, "newest", newest[:len(newest)-1], "is cut or altered")
	refused(pages, "newest", newest[:len(newest)-4], "is cut or altered")
	refused(pages, "newest", newest+"A", "is cut or altered")
	refused(pages, "newest", newest[:8]+"\n"+newest[8:], "is cut or altered")
	refused(pages, "newest", newest+"=", "is cut or altered")
	refused(pages, "newest", "'; drop table pages; --", "is cut or altered")
	refused(pages, "newest", strings.Repeat("A", 100_000), "is cut or altered")

	foreign := newPages()
	foreign.Name = "other"
	refused(foreign, "newest", newest, "belongs to another list")
	changed := newPages()
	changed.Sorts["newest"] = "created desc, id"
	refused(changed, "newest", newest, "is older than the declaration")
	gone := newPages()
	delete(gone.Sorts, "newest")
	refused(gone, "due", newest, "belongs to a sort that is not declared")

	// The cursor names its sort, so a client has to send only the cursor.
	if _, err := pages.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Cursor: newest}); err != nil {
		t.Error(err)
	}
	for _, err := range pages.All(t.Context(), nothing{t}, pageArgs{Site: 1}, pgquery.At{Cursor: backward(t, pages,
		pool)}) {
		refusedCursor(t, err, "leads backward")
	}
}

func backward(t *testing.T, pages *pgquery.List[pageArgs, pageRow], db pgquery.DB) string {
	t.Helper()
	page, err := pages.Page(t.Context(), db, pageArgs{Site: 1}, pgquery.At{Cursor: cursors(t, db, pages)["due"]})
	if err != nil {
		t.Fatal(err)
	}
	return page.Prev
}

func TestSignedCursors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	key, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	signed := func(keys ...[]byte) *pgquery.List[pageArgs, pageRow] {
		pages := newPages()
		pages.Keys = func() [][]byte { return keys }
		return pages
	}
	read := func(list *pgquery.List[pageArgs, pageRow], cursor string) error {
		_, err := list.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: "newest", Cursor: cursor})
		return err
	}
	cursor := cursors(t, pool, signed(key))["newest"]
	if err := read(signed(key), cursor); err != nil {
		t.Error(err)
	}
	if err := read(signed(other, key), cursor); err != nil {
		t.Errorf("a key that still verifies: %v", err)
	}
	refusedCursor(t, read(signed(other), cursor), "its key is unknown")
	refusedCursor(t, read(signed(key), cursors(t, pool, newPages())["newest"]), "its key is unknown")
	refusedCursor(t, read(newPages(), cursor), "its key is unknown")
	refusedCursor(t, read(signed(key), reseal(t, cursor, func(b []byte) []byte { return b })), "its key is unknown")
	for _, keys := range [][][]byte{nil, {[]byte("short")}, {key, nil}} {
		if err := read(signed(keys...), ""); err == nil || !strings.Contains(err.Error(), "at least 16 bytes") {
			t.Errorf("%d keys: %v", len(keys), err)
		}
		for _, err := range signed(keys...).All(t.Context(), nothing{t}, pageArgs{Site: 1},
			pgquery.At{Sort: "newest"}) {
			if err == nil || !strings.Contains(err.Error(), "at least 16 bytes") {
				t.Errorf("%d keys: %v", len(keys), err)
			}
		}
	}
}

// reseal changes a cursor that is not signed, and repairs its digest, as an attacker would.
func reseal(t *testing.T, cursor string, change func([]byte) []byte) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Fatal(err)
	}
	b = change(b[:len(b)-16])
	digest := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(append(b, digest[:16]...))
}

// A forged cursor is refused, or works for a page. The server never refuses its values, which would
// abort the caller's transaction.
func TestForgedCursors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	refused, accepted := 0, 0
	random := rand.New(rand.NewPCG(1, 2))
	for sort, cursor := range cursors(t, tx, pages) {
		for range 2000 {
			forged := reseal(t, cursor, func(b []byte) []byte {
				b = append([]byte{}, b...)
				for range 1 + random.IntN(4) {
					switch at := random.IntN(len(b)); random.IntN(4) {
					case 0:
						b = b[:max(at, 1)]
					case 1:
						b = append(b[:at], append([]byte{byte(random.Uint32())}, b[at:]...)...)
					default:
						at = max(0, len(b)-1-random.IntN(20)) // the values
						b[at] = byte(random.Uint32())
					}
				}
				return b
			})
			_, err := pages.Page(t.Context(), tx, pageArgs{Site: 1}, pgquery.At{Cursor: forged})
			switch wrong := (*pgquery.CursorError)(nil); {
			case err == nil:
				accepted++
			case errors.As(err, &wrong):
				refused++
			default:
				t.Fatalf("sort %s, %q: %v", sort, forged, err)
			}
		}
	}
	if refused < 1000 || accepted < 100 {
		t.Errorf("%d refused, %d accepted: the test does not try both", refused, accepted)
	}
	if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
		t.Errorf("the transaction: %v", err)
	}
}

// A value that no cursor can hold does not end All.
func TestLongValues(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `insert into pages (site, title) values (9, 'a'), (9, repeat('b', 48000)),
		(9, repeat('c', 50000)), (9, 'd')`); err != nil {
		t.Fatal(err)
	}
	pages := newPages()
	pages.Sizes = []int{1}
	at := pgquery.At{Sort: "title"}
	for _, want := range []int{1, 48_000, 50_000} {
		page, err := pages.Page(t.Context(), pool, pageArgs{Site: 9}, at)
		if len(page.Rows) != 1 || len(page.Rows[0].Title) != want {
			t.Fatalf("%d rows, %v", len(page.Rows), err)
		}
		if isLong := want == 50_000; isLong != (err != nil) || isLong && (page.Next != "" ||
			!strings.Contains(err.Error(), "sort title: a row has 50041 bytes, and 49152 fit")) {
			t.Errorf("%d bytes: %v", want, err)
		}
		at.Cursor = page.Next
	}
	n := 0
	for _, err := range pages.All(t.Context(), pool, pageArgs{Site: 9}, pgquery.At{Sort: "title"}) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 4 {
		t.Errorf("%d rows", n)
	}
}
