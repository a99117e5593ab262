package pgquerytest_test

import (
	"database/sql"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
)

type (
	noLabel  string // accepts no label of the enum
	anyLabel string // accepts every string
)

func (noLabel) Valid() bool  { return false }
func (anyLabel) Valid() bool { return true }

// accepts checks a column of a type as an argument, a result and a key of a cursor. Each want is
// part of a problem, or "".
func accepts[T any](t *testing.T, pool *pgxpool.Pool, column, argument, result, key string) {
	t.Helper()
	type args struct {
		ID int32
		V  *T
	}
	type row struct {
		ID int32
		V  T
	}
	r := check(t, pool, &pgquery.List[args, row]{
		Name: "types", Select: "select id, " + column + " as v from types", Where: "id = @id",
		Filters: filter[T](column),
		Sorts:   pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	})
	expect(t, r, column, "argument", argument)
	expect(t, r, column, "Select", result)
	type keyArgs struct{ ID int32 }
	if result == "" {
		r = check(t, pool, &pgquery.List[keyArgs, row]{
			Name: "keys", Select: "select id, " + column + " as v from types", Where: "id = @id",
			Sorts: pgquery.Sorts{"v": "v, id"}, Sizes: []int{1}, Keys: nil,
		})
		expect(t, r, column, "Sorts[v]", key)
	}
}

func filter[T any](column string) pgquery.Filters {
	return pgquery.Filters{"v": column + " = @v"}
}

func expect(t *testing.T, r *recorder, column, piece, want string) {
	t.Helper()
	var found []string
	for _, e := range r.errors {
		if strings.Contains(e, ": "+piece) || strings.Contains(e, " arguments: ") {
			found = append(found, e)
		}
	}
	all := strings.Join(found, "\n")
	if want == "" && all != "" || !strings.Contains(all, want) {
		t.Errorf("%s as %s: %q, want %q", column, piece, r.errors, want)
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(), `create domain label as text; create table types (
		id int primary key, t text not null, v varchar(3) not null, l label not null, b bool not null, i2 int2 not
			null, i4 int4 not null, i8 int8 not null,
		f4 float4 not null, f8 float8 not null, n numeric not null, u uuid not null, tz timestamptz not null, d date
			not null, tm time not null,
		iv interval not null, by bytea not null, j jsonb not null, ip inet not null, m mood not null, ts text[] not
			null, ms mood[] not null, i4s int4[] not null)`)
	if err != nil {
		t.Fatal(err)
	}
	accepts[string](t, pool, "t", "", "", "")
	accepts[string](t, pool, "v", "", "", "")
	accepts[string](t, pool, "l", "", "", "")
	accepts[int32](t, pool, "t", "pgx does not encode", "pgx does not decode", "")
	accepts[bool](t, pool, "b", "", "", "")
	accepts[int16](t, pool, "i2", "", "", "")
	accepts[int32](t, pool, "i2", "would refuse what does not fit", "", "set Keys, or use the exact type")
	accepts[int16](t, pool, "i4", "", "it cannot hold all values", "")
	accepts[uint32](t, pool, "i4", "would refuse what does not fit", "", "set Keys")
	accepts[uint16](t, pool, "i4", "", "it cannot hold all values", "")
	accepts[float64](t, pool, "i4", "would refuse what does not fit", "", "set Keys")
	accepts[string](t, pool, "i4", "would refuse some strings", "", "set Keys")
	accepts[int64](t, pool, "i8", "", "", "")
	accepts[int](t, pool, "i8", "", "", "")
	accepts[float32](t, pool, "f4", "", "", "")
	accepts[float64](t, pool, "f8", "", "", "")
	accepts[float32](t, pool, "f8", "", "", "it rounds")
	accepts[float64](t, pool, "n", "", "", "it rounds")
	accepts[[16]byte](t, pool, "u", "", "", "")
	accepts[string](t, pool, "u", "would refuse some strings", "", "set Keys")
	accepts[time.Time](t, pool, "tz", "", "", "")
	accepts[time.Time](t, pool, "d", "", "", "")
	accepts[string](t, pool, "tz", "would refuse some strings", "pgx does not decode it", "")
	accepts[time.Duration](t, pool, "iv", "", "", "set Keys")
	accepts[struct{ A int }](t, pool, "j", "", "", "only a signed cursor can carry")
	accepts[netip.Addr](t, pool, "ip", "", "", "only a signed cursor can carry")
	accepts[Mood](t, pool, "m", "", "", "")
	accepts[string](t, pool, "m", "it takes any string", "", "set Keys")
	accepts[noLabel](t, pool, "m", `the label "calm" is not Valid`, "", "set Keys")
	accepts[anyLabel](t, pool, "m", `any string is Valid`, "", "set Keys")
	accepts[int32](t, pool, "m", "make it a string type", "make it a string type", "")

	type slices struct {
		ID     int32
		Texts  []string
		Moods  []Mood
		Plain  []string
		Widths []int64
		Bytes  []byte
		JSON   []byte
		Octets []byte
		Raw    json.RawMessage
		Null   sql.Null[int64]
		Time   pgtype.Time
		Text   pgtype.Text
		Long   pgtype.Int8
	}
	type row struct {
		ID    int32
		Texts []string
		Moods []Mood
		Tm    pgtype.Time
		Ints  []*int16
	}
	r := check(t, pool, &pgquery.List[slices, row]{
		Name: "slices", Select: "select id, ts as texts, ms as moods, tm, i4s as ints from types", Where: "id = @id",
		Filters: pgquery.Filters{
			"texts": "t = any(@texts)", "moods": "m = any(@moods)", "plain": "ms = @plain",
			"widths": "i4 = any(@widths)", "bytes": "by = @bytes",
			"json": "j = @json", "octets": "t = @octets", "raw": "j = @raw", "null": "i4 = @null", "time": "tm = @time", "text": "t = @text",
			"long": "i4 = @long",
		},
		Sorts: pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	})
	for _, want := range []string{
		"argument @Moods: is _mood, and the field is []pgquerytest_test.Mood: pgx does not encode it",
		"argument @Plain: is the enum mood, and the field is string: it takes any string",
		"argument @Widths: is int4, and the field is int64",
		"argument @JSON: is jsonb, and the field is []uint8: make it a json.RawMessage",
		"argument @Octets: is text, and the field is []uint8: the server would refuse some bytes",
		"argument @Null: is int4", "argument @Long: is int4",
		`column "ints": is int4, and the field is int16: it cannot hold`,
	} {
		wants(t, r, want)
	}
	for _, e := range r.errors {
		for _, fine := range []string{"@Texts", "@Bytes", "@Raw", "@Time", "@Text:", `"texts"`, `"tm"`} {
			if strings.Contains(e, fine) {
				t.Error(e)
			}
		}
	}
}

// Names that need quotes, and mistakes that only some texts show.
func TestOddSchemas(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(),
		`create schema "Odd.Schema"; create table "Odd.Schema"."My ""Table" ("The Id" int primary key, "from" text
			not null)`)
	if err != nil {
		t.Fatal(err)
	}
	type args struct{ ID int32 }
	type row struct {
		ID   int32  `db:"The Id"`
		From string `db:"from"`
	}
	list := &pgquery.List[args, row]{
		Name: "odd", Select: `select "T x"."The Id", "T x"."from" from "Odd.Schema"."My ""Table" as "T x"`,
		Where: `"T x"."The Id" > @id`,
		Sorts: pgquery.Sorts{"odd": `"from" desc, "The Id"`}, Sizes: []int{1},
	}
	if r := check(t, pool, list); len(r.errors) > 0 {
		t.Error(r.errors)
	}
	if _, err := list.Page(t.Context(), pool, args{1}, pgquery.At{}); err != nil {
		t.Error(err)
	}
	first := pages() // only its first sort is wrong
	first.Sorts = pgquery.Sorts{"a": "due, id", "b": "title"}
	first.Select = `select p.id, p.title, p.prio, p.due, p.created, null::json as due from pages p`
	wants(t, check(t, pool, first), `Sorts[a]: the server refuses it: `)
	window := pages()
	window.Select = `select p.id, p.title, (count(*) over ())::int as prio, p.due, p.created from pages p`
	wants(t, check(t, pool, window), "a window function looks at all rows")
	distinct := pages()
	distinct.Select = `select distinct p.id, p.title, p.prio, p.due, p.created from pages p`
	check(t, pool, distinct)
	full := pages()
	full.Select = `select p.id, p.title, p.prio, p.due, p.created from pages p full join authors a on a.id = p.author`
	full.Where = "@site > 0"
	wants(t, check(t, pool, full), "an outer join or a grouping set may have no row for pages.id")
	right := pages()
	right.Select = `select p.id, p.title, p.prio, p.due, p.created from pages p right join authors a on a.id = p.author`
	right.Where = "@site > 0"
	wants(t, check(t, pool, right), "an outer join or a grouping set may have no row for pages.id")
	unnest := pages()
	unnest.Select = `select p.id, x as title, p.prio, p.due, p.created from pages p cross join unnest(array['a',
		'b']) x`
	wants(t, check(t, pool, unnest), "no index proves that")
	union := pages()
	union.Select = `select p.id, p.title, p.prio, p.due, p.created from (select * from pages union all select * from
		pages) p`
	wants(t, check(t, pool, union), "no unique index of append")
	twice := pages()
	twice.Select = `select p.id, p.title, p.prio, p.due, p.created, p.id from pages p`
	wants(t, check(t, pool, twice), `column reference "id" is ambiguous`)
	// Two declarations of a name.
	r := &recorder{TB: t, ctx: t.Context()}
	pgquerytest.Check(r, pool, pages(), pages())
	wants(t, r, "List pages: Name: another declaration has it too")
	// More texts than Check prepares.
	type flags struct {
		Site                      int32
		A, B, C, D, E, F, G, H, I bool
	}
	many := &pgquery.List[flags, struct {
		ID      int64
		Title   string
		Prio    int32
		Due     *time.Time
		Created time.Time
	}]{
		Name: "many", Select: selected, Where: "p.site = @site", Filters: pgquery.Filters{}, Sorts: pages().Sorts,
		Sizes: []int{1},
	}
	for name := range strings.SplitSeq("a b c d e f g h i", " ") {
		many.Filters[name] = "p.prio > 0"
	}
	for name := range strings.SplitSeq("1 2 3 4 5 6 7 8 9", " ") {
		many.Sorts["due"+name] = "due, prio, id desc"
	}
	r = check(t, pool, many)
	if len(r.errors) > 0 || !strings.Contains(r.logs[len(r.logs)-1], "2000 prepared, then it stopped") {
		t.Error(r.errors, r.logs)
	}
}
