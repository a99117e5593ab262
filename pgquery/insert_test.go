package pgquery_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/pgquerytest"
)

type newItem struct {
	Key   string
	N     *int32
	Mood  mood
	Seen  time.Time
	Data  json.RawMessage
	Note  pgtype.Text
	Bytes []byte
}

type item struct {
	Key string
	N   *int32
	New bool
}

func newItems() *pgquery.Insert[newItem, item] {
	return &pgquery.Insert[newItem, item]{
		Name: "save_items", Table: "public.items",
		Columns:  `"key" text, n int, mood mood, seen timestamptz, data jsonb, note varchar(5), bytes bytea`,
		Conflict: "(key) do update set n = excluded.n, mood = excluded.mood", Returning: `"key", n, xmax = 0 as new`,
	}
}

func TestInsert(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := pool.Exec(t.Context(),
		`create table items (key text primary key, n int check (n < 1000), mood mood not null, seen timestamptz not
			null, data jsonb, note varchar(5), bytes bytea)`)
	if err != nil {
		t.Fatal(err)
	}
	save := newItems()
	pgquerytest.Check(t, pool, save)
	one, two := int32(1), int32(2)
	rows := []newItem{
		{
			Key: "a", N: &one, Mood: "calm", Seen: time.Now(), Data: json.RawMessage(`{"a": 1}`),
			Note: pgtype.Text{String: "x", Valid: true}, Bytes: []byte{0, 1},
		},
		{Key: `b", '`, Mood: "busy", Seen: time.Now()},
	}
	got, err := save.Apply(t.Context(), pool, rows)
	if err != nil || len(got) != 2 || !got[0].New || !got[1].New {
		t.Fatalf("%+v, %v", got, err)
	}
	rows[1].N, rows[0].Key = &two, "c"
	got, err = save.Apply(t.Context(), pool, rows)
	slices.SortFunc(got, func(a, b item) int { return len(a.Key) - len(b.Key) })
	if err != nil || len(got) != 2 || !got[0].New || got[1].New || *got[1].N != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	var n int
	if err := pool.QueryRow(t.Context(),
		"select count(*) from items where data @> '{\"a\": 1}' and bytes = '\\x0001' and note = "+
			"'x'").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if got, err := save.Apply(t.Context(), nothing{t}, nil); err != nil || got == nil {
		t.Errorf("%v, %v", got, err)
	}
	var many []newItem
	for i := range 70_000 { // more than a statement has parameters
		many = append(many, newItem{Key: time.Duration(i).String(), Mood: "calm", Seen: time.Now()})
	}
	if got, err = save.Apply(t.Context(), pool, many); err != nil || len(got) != len(many) {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

func TestInsertErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(),
		`create table items (key text primary key, n int check (n < 1000), mood mood not null, seen timestamptz, data
			jsonb, note varchar(5), bytes bytea)`); err != nil {
		t.Fatal(err)
	}
	var wrong *pgquery.ArgumentError
	for _, row := range []newItem{{Key: "\x00", Mood: "calm"}, {Key: "a", Mood: "bogus"}, {
		Key: "a", Mood: "calm",
		Data: json.RawMessage("{"),
	}} {
		if _, err := newItems().Apply(t.Context(), nothing{t}, []newItem{row}); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", row, err)
		}
	}
	large := int32(1000)
	_, err := newItems().Apply(t.Context(), pool, []newItem{{Key: "a", N: &large, Mood: "calm"}})
	if server := (*pgconn.PgError)(nil); !errors.As(err, &server) || server.Code != "23514" {
		t.Error(err)
	}
	if _, err := newItems().Apply(t.Context(), canned{}, []newItem{{Key: "a", Mood: "calm"}}); err == nil {
		t.Error("no error")
	}
	for want, change := range map[string]func(*pgquery.Insert[newItem, item]){
		"Table: must be a name":               func(i *pgquery.Insert[newItem, item]) { i.Table = "a (b)" },
		"Columns: each must be a name":        func(i *pgquery.Insert[newItem, item]) { i.Columns = "key" },
		"Columns: each must be a name and":    func(i *pgquery.Insert[newItem, item]) { i.Columns = "key text[]" },
		"Columns[x]: the column has":          func(i *pgquery.Insert[newItem, item]) { i.Columns += ", x int" },
		"Columns: cannot have arguments":      func(i *pgquery.Insert[newItem, item]) { i.Columns += ", x @n" },
		"arguments: nothing uses the field N": func(i *pgquery.Insert[newItem, item]) { i.Columns = "key text" },
		"Conflict: has a returning of":        func(i *pgquery.Insert[newItem, item]) { i.Conflict += " returning 1" },
		"Conflict: cannot have arguments": func(i *pgquery.Insert[newItem,
			item],
		) {
			i.Conflict = "(key) do update set n = @n"
		},
		"Returning: has a from of": func(i *pgquery.Insert[newItem, item]) { i.Returning += " from x" },
	} {
		i := newItems()
		change(i)
		_, err := i.Apply(t.Context(), nothing{t}, []newItem{{}})
		wantsDeclarationError(t, err, want)
		if len(i.Declaration().Problems) == 0 {
			t.Error(want)
		}
	}
	type optional struct{ Key pgquery.Optional[string] }
	o := &pgquery.Insert[optional, int]{Name: "o", Table: "items", Columns: "key text", Returning: "key"}
	_, err = o.Apply(t.Context(), nothing{t}, []optional{{}})
	wantsDeclarationError(t, err, "Columns[key]: the field Key is an Optional")
	wantsDeclarationError(t, err, "row: int is not a struct")
}

// A value that is too long for its column causes an error. It is not cut.
func TestInsertDoesNotCut(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	if _, err := pool.Exec(t.Context(), `create domain code as varchar(3); create domain codes as code;
		create table short (id int, a varchar(3), b char(3), c bit(3), d varchar(3),
		e numeric(10, 2), f timestamptz(3), g text, h codes, i nchar(5), j national character(5))`); err != nil {
		t.Fatal(err)
	}
	type short struct {
		ID   int32
		A, B string
		C    pgtype.Bits
		D    *string
		E    string
		F    time.Time
		G    string
		H    string
		I, J *string
	}
	type saved struct{ B string }
	insert := &pgquery.Insert[short, saved]{
		Name: "short", Table: "short", Columns: `id int, a varchar(3), b char(3), c bit(3), d character varying(3),
			e numeric(10, 2), f timestamp(3) with time zone, g varchar(2), h codes, i nchar(5),
			j NATIONAL CHARACTER(5)`,
		Returning: "b",
	}
	bits := pgtype.Bits{Bytes: []byte{0xe0}, Len: 3, Valid: true}
	five := `"a\,{`
	fits := short{1, "abc", "ab", bits, nil, "1.25", time.Now(), "long text", "abc", &five, &five}
	back, err := insert.Apply(t.Context(), pool, []short{fits})
	if err != nil || len(back) != 1 || back[0].B != "ab " {
		t.Errorf("%+v, %v", back, err)
	}
	var g, i, j string
	err = pool.QueryRow(t.Context(), "select g, i, j from short").Scan(&g, &i, &j)
	if err != nil || g != "long text" || i != five || j != five {
		t.Errorf("%q, %q, %q, %v", g, i, j, err)
	}
	long, longer := "abcd", "abcdef"
	for name, change := range map[string]func(*short){
		"varchar": func(s *short) { s.A = long }, "char": func(s *short) { s.B = long },
		"bit":               func(s *short) { s.C.Bytes, s.C.Len = []byte{0xf0}, 4 },
		"character varying": func(s *short) { s.D = &long }, "domain": func(s *short) { s.H = long },
		"nchar": func(s *short) { s.I = &longer }, "national": func(s *short) { s.J = &longer },
	} {
		row := fits
		change(&row)
		_, err := insert.Apply(t.Context(), pool, []short{row})
		if server := (*pgconn.PgError)(nil); !errors.As(err, &server) || !strings.HasPrefix(server.Code, "2202") &&
			server.Code != "22001" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
