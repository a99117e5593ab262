package pgquery_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgquery"
)

// oddRow has columns with values that are hard to compare.
type oddRow struct {
	ID    int64
	F8    float64
	F8N   *float64
	F4    float32
	F4N   pgtype.Float4
	Num   pgtype.Numeric
	TZ    pgtype.Timestamptz
	TS    pgtype.Timestamp
	TSN   *time.Time
	Day   pgtype.Date
	Ci    string
	CiN   *string
	En    string
	EnN   pgquery.Optional[string]
	De    *string
	Blank string
	Wide  *string
	By    []byte
	B     bool
	BN    *bool
	U     pgtype.UUID
	Iv    pgtype.Interval
	Small *int16
	Ip    *string
}

const oddSchema = `
create extension if not exists citext;
create collation if not exists german (provider = icu, locale = 'de-u-ks-level2', deterministic = false);
create table odd as select i::bigint as id,
	(array['NaN', 'Infinity', '-Infinity', '-0', '0', '1e-300', '1.5'])[1 + (random() * 6)::int]::float8 as f8,
	(array['NaN', 'Infinity', '-Infinity', '-0', '0', null, '0.1'])[1 + (random() * 6)::int]::float8 as f8n,
	(array['NaN', 'Infinity', '-Infinity', '-0', '0', '1e-40', '0.1'])[1 + (random() * 6)::int]::float4 as f4,
	(array['NaN', 'Infinity', null, '-0', '0', '1e-40', '0.1'])[1 + (random() * 6)::int]::float4 as f4n,
	(array['NaN', '0', null, '-0', '0.00', '1e40', '0.1'])[1 + (random() * 6)::int]::numeric as num,
	(array['infinity', '-infinity', null, '2026-03-29 02:30+02', '0044-03-15 BC', '20000-01-01',
		'1999-12-31 23:59:59.999999+00'])[1 + (random() * 6)::int]::timestamptz as tz,
	(array['infinity', '-infinity', null, '2026-03-29 02:30', '0044-03-15 BC', '20000-01-01',
		'1999-12-31 23:59:59.999999'])[1 + (random() * 6)::int]::timestamp as ts,
	(array['1970-01-01', null, null, '2026-03-29 02:30', '0044-03-15 BC', '20000-01-01',
		'1999-12-31 23:59:59.999999'])[1 + (random() * 6)::int]::timestamp as tsn,
	(array['infinity', '-infinity', null, '2026-03-29', '0044-03-15 BC', '20000-01-01', '1999-12-31'])
		[1 + (random() * 6)::int]::date as day,
	(array['a', 'A', 'b', 'B', 'é', 'É', ''])[1 + (random() * 6)::int]::citext as ci,
	(array['a', 'A', null, 'B', 'é', 'É', ''])[1 + (random() * 6)::int]::citext as cin,
	(array['a', 'A', 'b', 'B', 'é', ' a', ''])[1 + (random() * 6)::int] collate "C" as en,
	(array['a', 'A', null, 'B', 'é', ' a', ''])[1 + (random() * 6)::int] collate "en-x-icu" as enn,
	(array['a', 'A', null, 'B', 'é', 'É', 'ß'])[1 + (random() * 6)::int] collate german as de,
	(array['a', 'a ', 'A', 'B ', '', ' ', 'b'])[1 + (random() * 6)::int]::char(3) as blank,
	(array['a', null, repeat('x', 3000), '''', '\', '%', '�'])[1 + (random() * 6)::int]::varchar as wide,
	(array['a', null, '\x00', '\xff', '', '\x0000', 'b'])[1 + (random() * 6)::int]::bytea as by,
	random() > 0.5 as b,
	(array[true, false, null])[1 + (random() * 2)::int] as bn,
	(array['00000000-0000-0000-0000-000000000000', null, 'ffffffff-ffff-ffff-ffff-ffffffffffff'])
		[1 + (random() * 2)::int]::uuid as u,
	(array['1 mon', '30 days', null, '720:00:00', '-1 day', '-24:00:00', '1 year -1 day'])
		[1 + (random() * 6)::int]::interval as iv,
	(array[-32768, null, 32767, 0])[1 + (random() * 3)::int]::int2 as small,
	(array['10.0.0.1', null, '::1', '10.0.0.0/8'])[1 + (random() * 3)::int]::inet as ip
from generate_series(1, 90) i`

// Pages equal the pages that OFFSET reads, forward and backward, for all values and directions.
func TestOddKeys(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), oddSchema); err != nil {
		t.Fatal(err)
	}
	columns := strings.Fields("f8 f8n f4 f4n num tz ts tsn day ci cin en enn de blank wide by b bn u iv small")
	selected := "select id, " + strings.Join(columns, ", ") + ", ip::text as ip from odd"
	random := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	for round := range 40 {
		picked := []string{columns[round%len(columns)], columns[random.IntN(len(columns))], "id"}
		if picked[0] == picked[1] {
			picked = picked[1:]
		}
		var keys []string
		for _, column := range picked {
			keys = append(keys, column+[]string{"", " asc", " desc"}[random.IntN(3)]+
				[]string{"", " nulls first", " nulls last"}[random.IntN(3)])
		}
		order := strings.Join(keys, ", ")
		list := &pgquery.List[struct{}, oddRow]{
			Name: "odd", Select: selected, Where: "true", Sorts: pgquery.Sorts{"s": order}, Sizes: []int{13}, Open: true,
			Keys: func() [][]byte { return [][]byte{[]byte("0123456789abcdef")} },
		}
		var want []int64
		sql := fmt.Sprintf("select array_agg(id order by %s) from odd", order)
		err := pool.QueryRow(t.Context(), sql).Scan(&want)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		page, err := list.Page(t.Context(), pool, struct{}{}, pgquery.At{})
		for n := 0; ; n++ {
			if err != nil {
				t.Fatalf("%s: %v", order, err)
			}
			for _, row := range page.Rows {
				got = append(got, row.ID)
			}
			if page.Next == "" || n > 20 {
				break
			}
			page, err = list.Page(t.Context(), pool, struct{}{}, pgquery.At{Cursor: page.Next})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: forward %v, want %v", order, got, want)
		}
		got = nil
		for n := 0; ; n++ {
			if err != nil {
				t.Fatalf("%s: %v", order, err)
			}
			for i := range page.Rows {
				got = append(got, page.Rows[len(page.Rows)-1-i].ID)
			}
			if page.Prev == "" || n > 20 {
				break
			}
			page, err = list.Page(t.Context(), pool, struct{}{}, pgquery.At{Cursor: page.Prev})
		}
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: backward %v, want %v", order, got, want)
		}
	}
}
