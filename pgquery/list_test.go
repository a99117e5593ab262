package pgquery_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
)

// Every sort returns every row once, in the server's order without pages, forward and backward,
// with each filter and without.
func TestPagesCoverTheList(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	orders := map[string]string{
		"newest": "created desc, id desc", "due": "due nulls last, id", "undue": "due desc nulls first, id",
		"late": "due desc nulls last, created, id desc", "prio": "prio, created desc, id desc", "title": "title",
	}
	live := "live"
	filters := map[string]pageArgs{
		"true":                     {Site: 1},
		"state = 'live'":           {Site: 1, State: &live},
		"author = 1 or author = 3": {Site: 1, Author: []int32{1, 3}},
		"due < '2026-01-01 04:00+00' and state = 'live'": {Site: 1, State: &live, Late: true},
	}
	for sort, order := range orders {
		for condition, args := range filters {
			t.Run(sort+" "+condition, func(t *testing.T) {
				t.Parallel()
				var want []int64
				err := pool.QueryRow(t.Context(),
					fmt.Sprintf("select array_agg(id order by %s) from pages where site = 1 and (%s)", order,
						condition)).Scan(&want)
				if err != nil {
					t.Fatal(err)
				}
				var got []int64
				var last pgquery.Page[pageRow]
				at := pgquery.At{Sort: sort}
				for {
					page, err := pages.Page(t.Context(), pool, args, at)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, ids(page.Rows)...)
					last = page
					if at.Cursor = page.Next; page.Next == "" {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("forward: %v, want %v", got, want)
				}
				got = ids(last.Rows)
				for last.Prev != "" {
					at.Cursor = last.Prev
					if last, err = pages.Page(t.Context(), pool, args, at); err != nil {
						t.Fatal(err)
					}
					got = append(ids(last.Rows), got...)
				}
				if !slices.Equal(got, want) {
					t.Errorf("backward: %v, want %v", got, want)
				}
				got = nil
				for row, err := range pages.All(t.Context(), pool, args, pgquery.At{Sort: sort}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, row.ID)
				}
				if !slices.Equal(got, want) {
					t.Errorf("All: %v, want %v", got, want)
				}
			})
		}
	}
}

func ids(rows []pageRow) (ids []int64) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	pages := newPages()
	for _, try := range []struct {
		at          pgquery.At
		kind, known string
	}{
		{pgquery.At{Sort: "oldest"}, "sort", "due, late, newest, prio, title, undue"},
		{pgquery.At{}, "sort", "due, late, newest, prio, title, undue"}, // there are several
		{pgquery.At{Sort: "due", Size: 21}, "size", "7, 20, 100"},
		{pgquery.At{Sort: "due", Size: -1}, "size", "7, 20, 100"},
	} {
		_, err := pages.Page(t.Context(), nothing{t}, pageArgs{Site: 1}, try.at)
		var unknown *pgquery.NameError
		if !errors.As(err, &unknown) || unknown.Kind != try.kind || strings.Join(unknown.Known, ", ") != try.known {
			t.Errorf("%+v: %v", try.at, err)
		}
		if !strings.Contains(err.Error(), try.known) || pgerr.Of(err) != pgerr.Data {
			t.Errorf("%v, category %q", err, pgerr.Of(err))
		}
	}
}

// If the rows behind a cursor are gone, the page is empty and leads to the nearest edge.
func TestEdges(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	at := func(cursor string) pgquery.Page[pageRow] {
		t.Helper()
		page, err := pages.Page(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: "title", Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	first := at("")
	second := at(first.Next)
	if first.Prev != "" || second.Prev == "" || first.Rows == nil {
		t.Errorf("the first page has cursors %q and %q", first.Prev, first.Next)
	}
	if _, err := pool.Exec(t.Context(), "delete from pages where title <= $1", first.Rows[6].Title); err != nil {
		t.Fatal(err)
	}
	none := at(second.Prev)
	if len(none.Rows) != 0 || none.Rows == nil || none.Prev != "" || none.Next == "" {
		t.Errorf("before the first row: %+v", none)
	}
	if again := at(none.Next); !slices.Equal(ids(again.Rows), ids(second.Rows)) || again.Prev != "" {
		t.Errorf("the first page again: %v", ids(again.Rows))
	}
	if _, err := pool.Exec(t.Context(), "delete from pages where title > $1", second.Rows[6].Title); err != nil {
		t.Fatal(err)
	}
	none = at(second.Next)
	if len(none.Rows) != 0 || none.Next != "" || none.Prev == "" {
		t.Errorf("after the last row: %+v", none)
	}
	if last := at(none.Prev); !slices.Equal(ids(last.Rows), ids(second.Rows)) || last.Next != "" || last.Prev != "" {
		t.Errorf("the last page: %+v", last)
	}
}

// recording counts queries and their texts, with the mode used.
type recording struct {
	pgquery.DB
	texts []string
	modes []any
}

func (r *recording) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	r.texts = append(r.texts, sql)
	r.modes = append(r.modes, nil)
	if len(args) == 0 {
		return r.DB.Query(ctx, sql)
	}
	if mode, ok := args[0].(pgx.QueryExecMode); ok {
		r.modes[len(r.modes)-1] = mode
	}
	return r.DB.Query(ctx, sql, args...)
}

// No input of a client is part of a text, and equal requests have equal texts.
func TestTextsAreStable(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	db := &recording{DB: pool}
	for _, state := range []string{"live", "draft", `'; drop table pages; --`, "$1", "@site"} {
		page, err := pages.Page(t.Context(), db, pageArgs{Site: 1, State: &state}, pgquery.At{Sort: "due", Size: 7})
		if err != nil {
			t.Fatal(err)
		}
		if page.Next != "" {
			if _, err = pages.Page(t.Context(), db, pageArgs{Site: 1, State: &state},
				pgquery.At{Cursor: page.Next}); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(db.texts)
	if texts := slices.Compact(slices.Clone(db.texts)); len(texts) != 2 {
		t.Errorf("%d texts: %q", len(texts), texts)
	}
	for _, text := range db.texts {
		if !strings.HasPrefix(text, "-- name: pages :many\n") || !strings.Contains(text, "limit 8") {
			t.Errorf("%q", text)
		}
	}
	if db.modes[0] != nil {
		t.Errorf("mode %v", db.modes[0])
	}
	planned := newPages()
	planned.Replan = true
	db.modes = nil
	if _, err := planned.Page(t.Context(), db, pageArgs{Site: 1}, pgquery.At{Sort: "due"}); err != nil ||
		db.modes[0] != pgx.QueryExecModeCacheDescribe {
		t.Errorf("mode %v, %v", db.modes, err)
	}
}

// More combinations than a list keeps still work.
func TestManyTexts(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type args struct{ A, B, C, D, E, F, G, H, I, J, K bool }
	list := &pgquery.List[args, onlyID]{
		Name: "many", Select: "select id from pages p", Where: "true", Filters: pgquery.Filters{},
		Sorts: pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	}
	for name := range strings.SplitSeq("a b c d e f g h i j k", " ") {
		list.Filters[name] = "p.id > 0"
	}
	for i := range 1 << 11 {
		var a args
		for bit := range 11 {
			reflect.ValueOf(&a).Elem().Field(bit).SetBool(i>>bit&1 == 1)
		}
		db := &recording{DB: canned{}}
		_, _ = list.Page(t.Context(), db, a, pgquery.At{})
		if strings.Count(db.texts[0], "p.id > 0") != bits.OnesCount(uint(i)) {
			t.Fatalf("%+v: %s", a, db.texts)
		}
	}
	if page, err := list.Page(t.Context(), pool, args{A: true, K: true}, pgquery.At{}); err != nil ||
		len(page.Rows) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

type canned struct{}

func (canned) Query(context.Context, string, ...any) (pgx.Rows, error) {
	return nil, errors.New("canned")
}

func TestDatabaseErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	pages.Filters["state"] = "p.state = @state and 1 / (p.prio - p.prio) = 1"
	live := "live"
	_, err := pages.Page(t.Context(), pool, pageArgs{Site: 1, State: &live}, pgquery.At{Sort: "due"})
	if server := (*pgconn.PgError)(nil); !errors.As(err, &server) || server.Code != "22012" ||
		!strings.HasPrefix(err.Error(), "pgquery: list pages: ") {
		t.Error(err)
	}
	seen := 0
	for _, err = range pages.All(t.Context(), pool, pageArgs{Site: 1, State: &live}, pgquery.At{Sort: "due"}) {
		seen++
	}
	if err == nil || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newPages().Page(canceled, pool, pageArgs{Site: 1}, pgquery.At{Sort: "due"}); !errors.Is(err,
		context.Canceled) {
		t.Error(err)
	}
}

// All stops when its loop does, and reads one page at a time.
func TestAllIsLazy(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	db := &recording{DB: pool}
	seen := 0
	for _, err := range newPages().All(t.Context(), db, pageArgs{Site: 1}, pgquery.At{Sort: "late"}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 8 {
			break
		}
	}
	if len(db.texts) != 2 {
		t.Errorf("%d queries for 8 rows of pages of 7", len(db.texts))
	}
}

// Lists work in a transaction, and on a single connection.
func TestHandles(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		for _, db := range []pgquery.DB{pool, conn, conn.Conn(), tx} {
			if page, err := newPages().Page(t.Context(), db, pageArgs{Site: 1},
				pgquery.At{Sort: "due"}); err != nil || len(page.Rows) != 7 {
				t.Errorf("%T: %d rows, %v", db, len(page.Rows), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// keyed is a row with keys of many types.
type keyed struct {
	ID      int64
	Title   pgtype.Text
	Prio    uint16
	Created pgtype.Timestamptz
	Day     pgtype.Date
	Hash    []byte
	UUID    [16]byte
	Ratio   *float64
	Live    bool
	Due     pgquery.Optional[time.Time]
	Price   pgtype.Numeric
	Mood    mood
}

type mood string

func (m mood) Valid() bool { return m == "calm" || m == "busy" }

func TestKeyTypes(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	list := func(sort string, keys ...[]byte) *pgquery.List[struct{}, keyed] {
		l := &pgquery.List[struct{}, keyed]{
			Name: "keyed",
			Select: `select id, case when id % 3 > 0 then title end as title, (id % 4)::int as prio,
				case when id % 5 = 0 then 'infinity' else created end as created, created::date as day,
				case when id % 4 > 0 then sha256(title::bytea) end as hash, md5(title)::uuid as uuid, case when id %
					7 > 0 then id / 7.0::float8 end as ratio,
				id % 2 = 0 as live, due, id / 3.0 as price, (array['calm', 'busy'])[id % 2 + 1]::mood as mood from
					pages`,
			Where: "true", Sorts: pgquery.Sorts{sort: sort}, Sizes: []int{7}, Open: true,
		}
		if keys != nil {
			l.Keys = func() [][]byte { return keys }
		}
		return l
	}
	key := []byte("0123456789abcdef")
	for _, column := range []string{
		"title", "prio", "created", "day", "hash", "uuid", "ratio", "live", "due",
		"price", "mood",
	} {
		for _, order := range []string{"", " desc", " nulls first", " desc nulls last"} {
			t.Run(column+order, func(t *testing.T) {
				t.Parallel()
				l := list(column + order + ", id")
				if column == "price" { // which travels as JSON
					l = list(column+order+", id", key)
				}
				var want, got []int64
				if err := pool.QueryRow(t.Context(),
					"select array_agg(id order by "+column+order+", id) from ("+l.Select+") "+
						"q").Scan(&want); err != nil {
					t.Fatal(err)
				}
				at := pgquery.At{}
				for range 100 {
					page, err := l.Page(t.Context(), pool, struct{}{}, at)
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range page.Rows {
						got = append(got, row.ID)
					}
					if at.Cursor = page.Next; at.Cursor == "" {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
			})
		}
	}
}

// Several goroutines may use a list for the first time at once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	pages := newPages()
	var all sync.WaitGroup
	for sort := range pages.Sorts {
		for range 4 {
			all.Go(func() {
				seen := 0
				for _, err := range pages.All(t.Context(), pool, pageArgs{Site: 1}, pgquery.At{Sort: sort}) {
					if err != nil {
						t.Error(err)
					}
					seen++
				}
				if seen != 60 {
					t.Errorf("sort %s: %d rows", sort, seen)
				}
			})
		}
	}
	all.Wait()
}
