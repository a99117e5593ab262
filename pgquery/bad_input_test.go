package pgquery_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgquery"
	"github.com/page-builder/persistence/pgquery/internal/decl"
	"github.com/page-builder/persistence/pgtest/pgserver"
)

// clientArgs has every type that a client may fill.
type clientArgs struct {
	Site   int32
	State  *string
	States []string
	Mood   *mood
	Since  pgquery.Optional[time.Time]
	Title  pgtype.Text
	Data   json.RawMessage
	Object map[string]any
	From   *netip.Addr
	Ratio  *float64
	Raw    []byte
	Until  pgtype.Timestamptz
}

func clientList() *pgquery.List[clientArgs, onlyID] {
	return &pgquery.List[clientArgs, onlyID]{
		Name: "client", Select: "select p.id from pages p", Where: "p.site = @site",
		Filters: pgquery.Filters{
			"state": "p.state = @state", "states": "p.state = any(@states)", "mood": "p.mood = @mood",
			"since": "p.created >= @since",
			"title": "p.title >= @title", "data": "@data::jsonb is not null", "object": "@object::jsonb is not null",
			"from":  "@from::inet is not null",
			"ratio": "p.prio::float8 > @ratio", "raw": "p.title::bytea <> @raw", "until": "p.created < @until",
		},
		Sorts: pgquery.Sorts{"id": "id", "down": "id desc"}, Sizes: []int{3, 5},
	}
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	list := clientList()
	far := time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)
	text := func(s string) *string { return &s }
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	wrongMood := mood("bogus")
	for name, try := range map[string]struct {
		args     clientArgs
		argument string
	}{
		"NUL":                       {clientArgs{State: text("a\x00b")}, "State"},
		"not UTF-8":                 {clientArgs{State: text("a\xffb")}, "State"},
		"half a surrogate, encoded": {clientArgs{State: text("\xed\xa0\x80")}, "State"},
		"NUL in an array":           {clientArgs{States: []string{"a", "\x00"}}, "States"},
		"NUL in a pgtype":           {clientArgs{Title: pgtype.Text{String: "\x00", Valid: true}}, "Title"},
		"no label of an enum":       {clientArgs{Mood: &wrongMood}, "Mood"},
		"a far time":                {clientArgs{Since: pgquery.Value(far)}, "Since"},
		"a time long ago": {
			clientArgs{Since: pgquery.Value(time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC))},
			"Since",
		},
		"a far time in a pgtype":   {clientArgs{Until: pgtype.Timestamptz{Time: far, Valid: true}}, "Until"},
		"no JSON":                  {clientArgs{Data: json.RawMessage(`{`)}, "Data"},
		"empty JSON":               {clientArgs{Data: json.RawMessage{}}, "Data"},
		"two JSON values":          {clientArgs{Data: json.RawMessage(`1 2`)}, "Data"},
		"JSON that is not UTF-8":   {clientArgs{Data: json.RawMessage("\"\xff\"")}, "Data"},
		"NUL in JSON":              {clientArgs{Data: json.RawMessage(`{"a": ["\u0000"]}`)}, "Data"},
		"NUL in a JSON key":        {clientArgs{Data: json.RawMessage(`{"\u0000": 1}`)}, "Data"},
		"half a pair in JSON":      {clientArgs{Data: json.RawMessage(`"\ud800"`)}, "Data"},
		"half beside U+FFFD":       {clientArgs{Data: json.RawMessage(`["\ufffd", "\ud800"]`)}, "Data"},
		"half before a pair":       {clientArgs{Data: json.RawMessage(`"\ud800\ud800\udc00"`)}, "Data"},
		"the other half":           {clientArgs{Data: json.RawMessage(`"\uDC00"`)}, "Data"},
		"a huge number in JSON":    {clientArgs{Data: json.RawMessage(`1e200000`)}, "Data"},
		"a tiny number in JSON":    {clientArgs{Data: json.RawMessage(`[1E-200000]`)}, "Data"},
		"an exponent out of range": {clientArgs{Data: json.RawMessage(`1e99999999999999999999`)}, "Data"},
		"a long number in JSON":    {clientArgs{Data: json.RawMessage(strings.Repeat("9", 200_000))}, "Data"},
		"deep JSON": {clientArgs{Data: json.RawMessage(strings.Repeat("[", 9000) +
			strings.Repeat("]", 9000))}, "Data"},
		"NUL in a map":       {clientArgs{Object: map[string]any{"a": []any{"\x00"}}}, "Object"},
		"NUL in a map's key": {clientArgs{Object: map[string]any{"\x00": 1}}, "Object"},
		"a cycle":            {clientArgs{Object: cyclic}, "Object"},
		"no address":         {clientArgs{From: &netip.Addr{}}, "From"},
	} {
		try.args.Site = 1
		_, err := list.Page(t.Context(), nothing{t}, try.args, pgquery.At{Sort: "id"})
		var wrong *pgquery.ArgumentError
		if !errors.As(err, &wrong) || wrong.Argument != try.argument || pgerr.Of(err) != pgerr.Data {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), "list client: argument @"+try.argument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// valued takes its value from its own method.
type valued struct{ value any }

func (v valued) Value() (driver.Value, error) { return v.value, nil }

type marshaled struct{ text string }

func (m marshaled) MarshalJSON() ([]byte, error) { return []byte(m.text), nil }

// Values made by the caller's code are checked in the form in which they are sent. Null is refused.
func TestValuers(t *testing.T) {
	t.Parallel()
	type args struct {
		S valued
		J map[string]any
	}
	list := &pgquery.List[args, onlyID]{
		Name: "l", Select: "select id from pages p", Where: "p.title = @s",
		Filters: pgquery.Filters{"j": "@j::jsonb is not null"},
		Sorts:   pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	}
	for reason, a := range map[string]args{
		"is null":                             {},
		"contains a NUL":                      {S: valued{"a\x00"}},
		"is not UTF-8":                        {S: valued{"\xff"}},
		"is not JSON that the server accepts": {S: valued{"a"}, J: map[string]any{"a": marshaled{`"\u0000"`}}},
		"cannot be JSON":                      {S: valued{"a"}, J: map[string]any{"a": math.NaN()}},
	} {
		_, err := list.Page(t.Context(), nothing{t}, a, pgquery.At{})
		var wrong *pgquery.ArgumentError
		if !errors.As(err, &wrong) || wrong.Reason != reason {
			t.Errorf("%s: %v", reason, err)
		}
	}
	pool := setup(t)
	a := args{S: valued{"page 3"}, J: map[string]any{"a": marshaled{`"b"`}}}
	if page, err := list.Page(t.Context(), pool, a, pgquery.At{}); err != nil || len(page.Rows) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

// Odd but correct values are sent, and the server accepts them.
func TestOddArguments(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	list := clientList()
	text := func(s string) *string { return &s }
	calm, infinite := mood("calm"), math.Inf(1)
	address := netip.MustParseAddr("::1")
	for name, args := range map[string]clientArgs{
		"SQL":       {State: text(`'; drop table pages; --`)},
		"no states": {States: []string{}},
		"an enum":   {Mood: &calm},
		"null":      {Since: pgquery.Null[time.Time]()},
		"JSON": {Data: json.RawMessage(`{"a": "\\u0000 \ud83d\ude00 \\ud800", "b": [1.5e10, -0, true,
			null], "c": {}}`)},
		"JSON with U+FFFD": {Data: json.RawMessage(`"\ufffd \ud83d\ude00 ` + "\ufffd" + `"`)},
		"deep JSON":        {Data: json.RawMessage(strings.Repeat("[", 900) + strings.Repeat("]", 900))},
		"an object":        {Object: map[string]any{"a": 1, "b": []string{"c"}, "d": nil}},
		"an address":       {From: &address},
		"infinity": {Ratio: &infinite, Until: pgtype.Timestamptz{
			InfinityModifier: pgtype.Infinity,
			Valid:            true,
		}},
		"bytes":          {Raw: []byte{0, 255}},
		"the first year": {Since: pgquery.Value(time.Date(-4711, 1, 1, 0, 0, 0, 0, time.UTC))},
		"the last year":  {Since: pgquery.Value(time.Date(294246, 1, 1, 0, 0, 0, 0, time.UTC))},
	} {
		args.Site = 1
		if _, err := list.Page(t.Context(), pool, args, pgquery.At{Sort: "id"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A required argument that is nil is an error, never NULL.
func TestMissingArguments(t *testing.T) {
	t.Parallel()
	type args struct {
		Sites []int32
		From  *int32
		To    *int32
	}
	list := &pgquery.List[args, onlyID]{
		Name: "l", Select: "select id from pages p", Where: "p.site = any(@sites)",
		Filters: pgquery.Filters{"from": "p.prio between @from and @to", "to": "p.prio <= @to"},
		Sorts:   pgquery.Sorts{"id": "id"}, Sizes: []int{1},
	}
	one := int32(1)
	for argument, a := range map[string]args{"Sites": {}, "To": {Sites: []int32{1}, From: &one}} {
		_, err := list.Page(t.Context(), nothing{t}, a, pgquery.At{})
		var wrong *pgquery.ArgumentError
		if !errors.As(err, &wrong) || wrong.Argument != argument || wrong.Reason != "is missing" {
			t.Errorf("%s: %v", argument, err)
		}
	}
}

// known is a handle that fails the test for an unknown text or an error of the server.
type known struct {
	testing.TB
	pgx.Tx
	texts map[string]bool
}

func (k *known) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if !k.texts[sql] {
		k.Errorf("a text that is not declared: %s", sql)
	}
	return k.Tx.Query(ctx, sql, args...)
}

// texts returns those that a request of the fuzz test may send.
func texts(list *pgquery.List[clientArgs, onlyID]) map[string]bool {
	d := list.Declaration().List
	all := map[string]bool{}
	for _, filters := range [][]string{
		{"data"},
		nil,
		{
			"data", "mood", "object", "ratio", "raw", "since", "state",
			"states", "title", "until",
		},
		{"mood", "object", "ratio", "since", "state", "states", "title", "until"},
	} {
		on := uint64(0)
		for i, name := range d.Filters {
			if slices.Contains(filters, name) {
				on |= 1 << i
			}
		}
		for sort := range d.Sorts {
			for _, v := range []decl.Variant{{}, {Keyset: true}, {Keyset: true, Backward: true}} {
				v.Sort, v.Filters = sort, on
				sql := d.Text(v).SQL
				all[sql] = true
				all[strings.Replace(sql, "limit 4", "limit 6", 1)] = true
			}
		}
	}
	return all
}

// Whatever a client sends, only declared texts reach the server. The server refuses nothing, so the
// caller's transaction survives.
func FuzzRequest(f *testing.F) {
	pool, err := pgxpool.New(f.Context(), pgserver.Database(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(pool.Close)
	if _, err := pool.Exec(f.Context(), schema); err != nil {
		f.Fatal(err)
	}
	list := clientList()
	page, err := list.Page(f.Context(), pool, clientArgs{Site: 1}, pgquery.At{Sort: "id"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("id", 3, page.Next, int32(1), "live", "calm", []byte(`{"a": 1}`), int64(0), 1.5)
	f.Add("down", 5, "", int32(2), "\x00", "busy", []byte(`"\u0000"`), int64(math.MaxInt64), math.NaN())
	f.Add("", 0, page.Next[:10], int32(-1), "' or true --", "", []byte(`[1e999999]`), int64(math.MinInt64),
		math.Inf(-1))
	f.Add("id;", -1, "AAAA", int32(0), "\xff", "bogus", []byte(`"\ud800"`), int64(1)<<60, 0.0)
	f.Fuzz(func(t *testing.T, sort string, size int, cursor string, site int32, state, enum string, data []byte,
		seconds int64, ratio float64,
	) {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.Background())
		m := mood(enum)
		args := clientArgs{
			Site: site, State: &state, States: strings.Split(state, ","), Mood: &m,
			Since: pgquery.Value(time.Unix(seconds, 0)),
			Title: pgtype.Text{String: state, Valid: true}, Data: data, Object: map[string]any{state: enum},
			Ratio: &ratio, Raw: data,
			Until: pgtype.Timestamptz{Time: time.Unix(seconds/1e6, 0), Valid: true},
		}
		if size%2 == 0 { // not everything at once, or one bad value would hide the others
			args = clientArgs{Site: site, Data: data}
		}
		db := &known{TB: t, Tx: tx, texts: texts(list)}
		_, err = list.Page(t.Context(), db, args, pgquery.At{Sort: sort, Size: size, Cursor: cursor})
		var name *pgquery.NameError
		var wrong *pgquery.CursorError
		var argument *pgquery.ArgumentError
		if err != nil && !errors.As(err, &name) && !errors.As(err, &wrong) && !errors.As(err, &argument) {
			t.Errorf("%v", err)
		}
		if _, err := tx.Exec(t.Context(), "select 1"); err != nil {
			t.Errorf("the transaction: %v", err)
		}
	})
}

// Whatever JSON a client sends for a patch, the server only refuses violations of constraints.
func FuzzPatch(f *testing.F) {
	pool, err := pgxpool.New(f.Context(), pgserver.Database(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(pool.Close)
	if _, err := pool.Exec(f.Context(), schema); err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		`{}`, `{"Title": "a"}`, `{"Title": null}`, `{"Due": null, "Prio": 3}`, `{"Title": "a", "title": "\u0000"}`,
		`{"Due": "0001-01-01T00:00:00Z"}`, `{"Due": "9999-12-31T23:59:59.999999999+14:00"}`, `{"Prio": 2147483648}`,
		`{"Title": "\ud800", "ID": 3, "Version": -1}`, `{"Title": "'; drop table pages; --"}`, `{"Title": ["a"]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		args := patchArgs{ID: 2, Site: 1, Version: 1}
		if json.Unmarshal(body, &args) != nil {
			return
		}
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.Background())
		_, err = newPatch().Apply(t.Context(), tx, args)
		var argument *pgquery.ArgumentError
		var changed *pgquery.ChangedError
		if err != nil && !errors.As(err, &argument) && !errors.As(err, &changed) && !errors.Is(err, pgx.ErrNoRows) &&
			pgerr.Of(err) != pgerr.Constraint {
			t.Errorf("%s: %v", body, err)
		}
	})
}
