package pgotel_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/page-builder/persistence/pgotel"
	"github.com/page-builder/persistence/pgtx"
)

const ownText = `select query from pg_stat_activity where pid = pg_backend_pid() and $1::text is not null`

func textOf(ctx context.Context, t *testing.T, db pgotel.Querier, args ...any) string {
	t.Helper()
	sql := ownText
	for _, arg := range args {
		if _, ok := arg.(pgx.NamedArgs); ok {
			sql = strings.Replace(sql, "$1", "@value", 1)
		}
	}
	var text string
	if err := db.QueryRow(ctx, sql, args...).Scan(&text); err != nil {
		t.Error(err)
	}
	return text
}

func sampled(ctx context.Context, flags oteltrace.TraceFlags) context.Context {
	return oteltrace.ContextWithSpanContext(ctx, oteltrace.NewSpanContext(oteltrace.SpanContextConfig{
		TraceID: oteltrace.TraceID{1}, SpanID: oteltrace.SpanID{2}, TraceFlags: flags,
	}))
}

const traceparent = `traceparent='00-01000000000000000000000000000000-0200000000000000-01'`

func TestTags(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	tags := pgotel.Tags{Application: "shop", Route: "POST /orders/{id}", Action: `it's */ "a" \`}
	static := `/*action='it%27s%20%2A%2F%20%22a%22%20%5C',application='shop',route='POST%20%2Forders%2F%7Bid%7D'*/`
	withTrace := tags
	withTrace.TraceParent = true
	onlyTrace := pgotel.Tags{TraceParent: true}
	for name, test := range map[string]struct {
		tags pgotel.Tags
		ctx  context.Context
		args []any
		want string // what the text ends with
	}{
		"static":                     {tags, t.Context(), []any{"a"}, "\n" + static},
		"one":                        {pgotel.Tags{Route: "a"}, t.Context(), []any{"a"}, "\n/*route='a'*/"},
		"none":                       {pgotel.Tags{}, t.Context(), []any{"a"}, "is not null"},
		"a mode":                     {tags, t.Context(), []any{pgx.QueryExecModeExec, "a"}, static},
		"the simple protocol":        {tags, t.Context(), []any{pgx.QueryExecModeSimpleProtocol, "a"}, static},
		"result formats":             {tags, t.Context(), []any{pgx.QueryResultFormats{0}, "a"}, static},
		"named arguments":            {tags, t.Context(), []any{pgx.NamedArgs{"value": "a"}}, static},
		"a mode and names":           {tags, t.Context(), []any{pgx.QueryExecModeExec, pgx.NamedArgs{"value": "a"}}, static},
		"no trace":                   {withTrace, t.Context(), []any{"a"}, "\n" + static},
		"a trace not sampled":        {withTrace, sampled(t.Context(), 0), []any{"a"}, "\n" + static},
		"a sampled trace":            {withTrace, sampled(t.Context(), 1), []any{"a"}, strings.TrimSuffix(static, "*/") + "," + traceparent + "*/"},
		"only a trace":               {onlyTrace, sampled(t.Context(), 1), []any{"a"}, "\n/*" + traceparent + "*/"},
		"only a trace, none":         {onlyTrace, t.Context(), []any{"a"}, "is not null"},
		"a trace and a mode":         {onlyTrace, sampled(t.Context(), 1), []any{pgx.QueryExecModeExec, "a"}, traceparent + "*/"},
		"a trace but no such option": {tags, sampled(t.Context(), 1), []any{"a"}, "\n" + static},
	} {
		if got := textOf(test.ctx, t, pgotel.Tag(s.pool, test.tags), test.args...); !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: %q, want an end of %q", name, got, test.want)
		}
		err := pgtx.Run(test.ctx, s.pool, func(ctx context.Context, tx pgx.Tx) error {
			for range 2 { // the first travels with BEGIN
				if got := textOf(ctx, t, pgotel.Tag(tx, test.tags), test.args...); !strings.HasSuffix(got, test.want) {
					t.Errorf("%s, in a transaction: %q, want an end of %q", name, got, test.want)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s, in a transaction: %v", name, err)
		}
	}
	if pgotel.Tag(s.pool, pgotel.Tags{}) != pgotel.Querier(s.pool) {
		t.Error("no tags make a wrapper")
	}
}

// TestTagsAfterComment tags a text that ends in a comment of its line.
func TestTagsAfterComment(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	q := pgotel.Tag(s.pool, pgotel.Tags{Application: "shop"})
	var one int
	if err := q.QueryRow(t.Context(), "select $1::int -- the end", 1).Scan(&one); err != nil || one != 1 {
		t.Errorf("%d, %v", one, err)
	}
	if tag, err := q.Exec(t.Context(), "create table a (); create table b ();"); err != nil || tag.String() != "CREATE TABLE" {
		t.Errorf("%v, %v", tag, err)
	}
	rows, err := q.Query(t.Context(), "select 1;")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int]); err != nil {
		t.Error(err)
	}
}

// TestTagsKeepTheStatementCache counts what a connection has prepared.
func TestTagsKeepTheStatementCache(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	err := s.pool.AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error {
		q := pgotel.Tag(conn, pgotel.Tags{Application: "shop", TraceParent: true})
		for i := range 6 {
			ctx := t.Context()
			if i >= 3 {
				ctx = sampled(ctx, 1)
			}
			textOf(ctx, t, q, "a")
		}
		var prepared int
		err := conn.QueryRow(t.Context(),
			"select count(*) from pg_prepared_statements where statement like '%shop%' and statement not like '%prepared%'",
			pgx.QueryExecModeExec).Scan(&prepared)
		if prepared != 1 {
			t.Errorf("%d statements are prepared, want 1", prepared)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkTags takes turns between a query without tags, with static ones, and with a traceparent.
// It reports the medians against that without tags.
func BenchmarkTags(b *testing.B) {
	s := newScene(b)
	all := []pgotel.Tags{
		{},
		{Application: "shop", Route: "POST /orders"},
		{Application: "shop", Route: "POST /orders", TraceParent: true},
	}
	took := make([][]time.Duration, len(all))
	err := s.pool.AcquireFunc(b.Context(), func(conn *pgxpool.Conn) error {
		ctx := sampled(b.Context(), 1)
		for b.Loop() {
			for i, tags := range all {
				began, one := time.Now(), 0
				if err := pgotel.Tag(conn, tags).QueryRow(ctx, "select $1::int", 1).Scan(&one); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range took {
		slices.Sort(took[i])
	}
	median := func(i int) float64 { return float64(took[i][len(took[i])/2]) }
	b.ReportMetric(median(1)/median(0), "static/none")
	b.ReportMetric(median(2)/median(0), "traceparent/none")
}

// FuzzTags tags a query with any text. The query stays what it was, and the tags can be read back.
func FuzzTags(f *testing.F) {
	s := newScene(f)
	for _, seed := range []string{"*/ select 2 --", "'", "\x00", "\xff", "%2A", "é\n", "$1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text := textOf(t.Context(), t, pgotel.Tag(s.pool, pgotel.Tags{Action: value, Application: "shop"}), "a")
		comment := strings.TrimPrefix(text, ownText+"\n/*")
		action, _, _ := strings.Cut(strings.TrimPrefix(comment, "action='"), "'")
		if value == "" {
			action = ""
		}
		if len(text) >= 1000 {
			return // pg_stat_activity cuts it
		}
		got, err := url.QueryUnescape(action)
		if err != nil || got != value || !strings.HasSuffix(comment, "application='shop'*/") {
			t.Errorf("%q became %q: %v", value, comment, err)
		}
	})
}
