package pgquery_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/page-builder/persistence/pgquery"
)

// Every sort gives every row once, in the order that the server has without pages, forward and
// backward, with each filter and without.
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
				err := pool.QueryRow(t.Context(), fmt.Sprintf("select array_agg(id order by %s) from pages where site = 1 and (%s)", order, condition)).Scan(&want)
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
