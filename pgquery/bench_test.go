package pgquery_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

type benchArgs struct {
	Site   int32
	State  *string
	Author *int32
}

type benchRow struct {
	ID      int64
	Title   string
	State   string
	Prio    int32
	Due     *time.Time
	Created time.Time
}

const benchSelect = `select p.id, p.title, p.state, p.prio, p.due, p.created from pages p`

// BenchmarkList compares a page of 20 rows and two filters with the same SQL by hand. Each run
// times all sides in turn, and the result is the median of the ratios.
func BenchmarkList(b *testing.B) {
	pool, err := pgxpool.New(b.Context(), pgserver.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	rows := 20_000
	if os.Getenv("PGQUERY_ROWS") != "" {
		if _, err := fmt.Sscan(os.Getenv("PGQUERY_ROWS"), &rows); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pool.Exec(b.Context(), schema+`; alter table pages drop constraint title_taken;
		create index on pages (site, state, author, created desc, id desc);`); err != nil {
		b.Fatal(err)
	}
	if _, err := pool.Exec(b.Context(), `insert into pages (site, title, state, prio, due, author, created)
		select 9, 'page ' || i, (array['draft', 'live'])[1 + i % 2], i % 1000,
			case when i % 4 > 0 then timestamptz '2026-01-01' + i * interval '1 minute' end, 1 + i % 5, timestamptz
				'2026-01-01' + i * interval '1 second'
		from generate_series(1, $1) i`, rows); err != nil {
		b.Fatal(err)
	}
	if _, err := pool.Exec(b.Context(), "vacuum analyze pages"); err != nil {
		b.Fatal(err)
	}
	list := &pgquery.List[benchArgs, benchRow]{
		Name: "bench", Select: benchSelect, Where: "p.site = @site",
		Filters: pgquery.Filters{"state": "p.state = @state", "author": "p.author = @author"},
		Sorts: pgquery.Sorts{
			"newest": "created desc, id desc", "due": "due nulls last, id", "prio": "prio, created desc, id desc",
		},
		Sizes: []int{20},
	}
	state, author := "live", int32(2)
	const byHand = benchSelect + ` where p.site = $1 and p.author = $2 and p.state = $3 order by p.created desc, p.id
		desc limit 21`
	conn, err := pool.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	hand := func() {
		rows, err := conn.Query(b.Context(), byHand, int32(9), author, state)
		if err != nil {
			b.Fatal(err)
		}
		if page, err := pgx.CollectRows(rows, pgx.RowToStructByName[benchRow]); err != nil || len(page) != 21 {
			b.Fatal(len(page), err)
		}
	}
	ours := func() {
		page, err := list.Page(b.Context(), conn, benchArgs{Site: 9, State: &state, Author: &author},
			pgquery.At{Sort: "newest"})
		if err != nil || len(page.Rows) != 20 || page.Next == "" {
			b.Fatal(len(page.Rows), err)
		}
	}
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			hand()
		}
	})
	b.Run("pgquery", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ours()
		}
	})
	compare(b, "list", ours, hand)
	for sort, parts := range map[string]int{"newest": 1, "due": 3, "prio": 2} {
		at := pgquery.At{Sort: sort}
		first := func() {
			if _, err := list.Page(b.Context(), conn, benchArgs{Site: 9}, pgquery.At{Sort: sort}); err != nil {
				b.Fatal(err)
			}
		}
		at.Cursor = cursorAt(b, list, conn, sort, rows)
		far := func() {
			if _, err := list.Page(b.Context(), conn, benchArgs{Site: 9}, at); err != nil {
				b.Fatal(err)
			}
		}
		compare(b, fmt.Sprintf("%s, %d ranges: a far page against the first", sort, parts), far, first)
	}
}

// cursorAt returns the cursor of the page in the middle of the rows.
func cursorAt(b *testing.B, list *pgquery.List[benchArgs, benchRow], db pgquery.DB, sort string, rows int) string {
	n := 0
	at := pgquery.At{Sort: sort}
	for {
		page, err := list.Page(b.Context(), db, benchArgs{Site: 9}, at)
		if err != nil {
			b.Fatal(err)
		}
		if n += len(page.Rows); n >= min(rows/2, 100_000) {
			return page.Next
		}
		at.Cursor = page.Next
	}
}

// compare reports the median of one's time against other's, in turns.
func compare(b *testing.B, name string, one, other func()) {
	b.Run(name, func(b *testing.B) {
		var ratios []float64
		for range 15 {
			var spent [2]time.Duration
			for range 100 {
				for i, fn := range []func(){one, other} {
					start := time.Now()
					fn()
					spent[i] += time.Since(start)
				}
			}
			ratios = append(ratios, float64(spent[0])/float64(spent[1]))
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "ratio")
		b.ReportMetric(0, "ns/op")
	})
}
