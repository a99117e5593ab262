package harness

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var transactionChart = Chart{File: "transaction", Title: "A transaction", Panels: []Panel{
	{"A transaction, loopback", "loopback"}, {"A transaction, 1ms", "1 ms"},
}}

// recorded is a report with the figures of real runs, in microseconds. The last round was
// disturbed.
func recorded() *Report {
	r := &Report{Out: io.Discard}
	row := func(name string, microseconds ...float64) Row {
		row := Row{Name: name}
		for _, t := range microseconds {
			row.Times = append(row.Times, time.Duration(t*1000))
		}
		return row
	}
	add := func(comparison, title string, rows ...Row) {
		r.Gather(title, len(rows[0].Times), rows)
		r.Tables[len(r.Tables)-1].Comparison = comparison
	}
	add("query", "Acquire and release", row("pgxpool", 0.32, 0.32, 0.32, 0.9),
		row("pgpool.Connect", 0.64, 0.65, 0.66, 0.8))
	add("query", "One query", row("pgxpool", 19.7, 19.6, 19.9, 40), row("pgpool.Connect", 19.9, 19.8, 20.1, 40))
	for _, where := range []string{"loopback", "1ms"} {
		add("transaction", "A transaction, "+where,
			row("pgx.BeginFunc", 200, 200, 200, 700), row("pgtx.Run", 182, 180, 184, 900),
			row("pgtx.Run, eager", 218, 220, 216, 500), row("by hand", 164, 164, 166, 500),
			row("GORM", 224, 230, 220, 2000))
	}
	for _, c := range []Comparison{
		{Name: "query", Reasons: []Reason{{Table: "^Acquire", Side: "^pgpool", Why: "The hooks."}}},
		{
			Name: "transaction", Charts: []Chart{transactionChart},
			Reasons: []Reason{{Side: "eager", Why: "Its own trip."}},
		},
	} {
		r.sections = append(r.sections, section{
			comparison: c, rounds: 4, took: time.Minute,
			text: "\nwhat " + c.Name + " printed\n",
		})
	}
	return r
}

func TestResults(t *testing.T) {
	t.Parallel()
	r := recorded()
	text := string(r.results([]fact{{"processors", "2 × a processor"}}, r.charts()))
	last := 0
	for _, want := range []string{
		"## Worse than a peer",
		"| pgpool.Connect | Acquire and release | ×2.03 (2.00–2.03) pgxpool | the same | 1 |\n",
		"| pgtx.Run, eager | A transaction, loopback | ×1.33 (1.30–1.33) by hand | " +
			"×1.09 (1.08–1.09) pgx.BeginFunc | 2 |\n",
		"| pgtx.Run | A transaction, loopback | ×1.11 (1.11–1.11) by hand | ×0.92 (0.91–0.92) pgx.BeginFunc | 3 |\n",
		"1. The hooks.\n2. Its own trip.\n3. " + noReason,
		"| processors | 2 × a processor |",
		"## query\n\n`GOWORK=off go -C lab/bench run . -rounds 4 query`: 1m0s.\n\nwhat query printed\n",
		"![A transaction. loopback: pgx.BeginFunc ×1.00, pgtx.Run ×0.92,", "](charts/transaction.svg)",
	} {
		at := strings.Index(text[last:], want)
		if at < 0 {
			t.Fatalf("no %q there, or before what comes before it, in:\n%s", want, text)
		}
		last += at
	}
	if strings.Contains(text, "| One query |") {
		t.Error("×1.01 is listed as worse")
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"pgtx.Run, eager": true, "pgpool.Connect": true, "pgtest": true, "pgmigrate": true, "pgquery": true,
		"pghealth, ready": true, "pgtestdb": false, "pgxpool": false, "pgx.BeginFunc": false, "GORM": false,
	} {
		if IsOurs(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

// A chart is well-formed XML, the same bytes each time, and has colors for light and dark pages.
// Its text and its description name every side.
func TestCharts(t *testing.T) {
	t.Parallel()
	r := recorded()
	drawn, again := r.charts(), recorded().charts()
	if len(drawn) != 1 || len(again) != 1 {
		t.Fatalf("%d and %d charts, want 1", len(drawn), len(again))
	}
	for i, d := range drawn {
		if !bytes.Equal(d.svg, again[i].svg) {
			t.Errorf("%s is another one the second time", d.file)
		}
		words := svgText(t, d)
		if words["title"] != d.title || words["desc"] != d.alt {
			t.Errorf("%s: its title is %q, its description %q", d.file, words["title"], words["desc"])
		}
		for _, table := range r.Tables {
			for _, row := range table.Rows {
				if table.Comparison == d.comparison &&
					(!strings.Contains(words["text"], row.Name+"\n") || !strings.Contains(d.alt, row.Name+" ")) {
					t.Errorf("%s does not name %q", d.file, row.Name)
				}
			}
		}
		for _, want := range []string{"ower is better", Cores()} {
			if !strings.Contains(words["text"], want) {
				t.Errorf("%s does not say %q", d.file, want)
			}
		}
		if !strings.Contains(words["style"], "prefers-color-scheme: dark") {
			t.Errorf("%s has no colors for dark pages", d.file)
		}
	}
}

// svgText returns the text of an SVG by element.
func svgText(t *testing.T, d drawing) map[string]string {
	t.Helper()
	words := map[string]string{}
	decoder := xml.NewDecoder(bytes.NewReader(d.svg))
	element := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return words
		}
		if err != nil {
			t.Fatalf("%s: %v", d.file, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
		case xml.CharData:
			words[element] += string(token)
			if element == "text" {
				words[element] += "\n"
			}
		case xml.EndElement:
			element = ""
		}
	}
}

// A chart with a failed side is not drawn, and a failed side is not listed as worse.
func TestFailedSides(t *testing.T) {
	t.Parallel()
	r := recorded()
	for i, table := range r.Tables {
		for j, row := range table.Rows {
			if row.Name == "pgtx.Run" {
				r.Tables[i].Rows[j] = Row{Name: row.Name, Failed: errors.New("gone")}
			}
		}
	}
	if drawn := r.charts(); len(drawn) > 0 {
		t.Errorf("drawn are %v", drawn)
	}
	for _, w := range r.worseThanPeers() {
		if w.side == "pgtx.Run" {
			t.Errorf("%s failed and is worse than %s", w.side, w.peer)
		}
	}
}

// Record writes the results after each comparison. A failed side or comparison appears with its
// reason, and the others go on. When ctx ends, Record writes nothing. Charts of comparisons that
// did not run stay as they were.
func TestRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, text := range map[string]string{"RESULTS.md": "old", "charts/other.svg": "of another run"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	works := func(context.Context) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	cutOff := Comparison{Name: "cut off", Run: func(ctx context.Context, r *Report, rounds int) error {
		cancel()
		return r.Compare(ctx, "A table", rounds, 1, Side{"pgxpool", works})
	}}
	if err := (&Report{Out: io.Discard}).Record(ctx, dir, 1, []Comparison{cutOff}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
	if text := read("RESULTS.md"); text != "old" {
		t.Errorf("a run that was cut off left %q", text)
	}

	noRole, noServer := errors.New("role \"pgtdbuser\"\ndoes not exist"), errors.New("no server")
	calls := 0
	var first string // the results when the second comparison begins
	err := (&Report{Out: t.Output()}).Record(t.Context(), dir, 4, []Comparison{
		{
			Name: "one", Charts: []Chart{{File: "one", Title: "One", Panels: []Panel{{"A good table", "good"}}}},
			Run: func(ctx context.Context, r *Report, rounds int) error {
				if err := r.Compare(ctx, "A good table", rounds, 1, Side{"pgxpool", works}); err != nil {
					return err
				}
				return r.Compare(ctx, "A table", rounds, 1, Side{"pgxpool", works},
					Side{"pgtestdb", func(context.Context) error {
						if calls++; calls > 2 { // in the second of the rounds that count
							return noRole
						}
						return nil
					}}, Side{"pgtest", works})
			},
		},
		{Name: "two", Run: func(_ context.Context, r *Report, _ int) error {
			first = read("RESULTS.md")
			r.Printf("half of it\n")
			return noServer
		}},
		{Name: "three", Run: func(ctx context.Context, r *Report, rounds int) error {
			fails := func(context.Context) error { return noRole }
			return r.Compare(ctx, "Another table", rounds, 1, Side{"pgxpool", fails}, Side{"pgtest", works})
		}},
	})
	if !errors.Is(err, noRole) || !errors.Is(err, noServer) {
		t.Errorf("error is %v, want both failures", err)
	}
	if calls != 3 {
		t.Errorf("the side that failed was called %d times, want 3: it is left out then", calls)
	}
	for _, want := range []string{
		"| PostgreSQL | ", "| load average", "These comparisons have not run: two, three.", "| pgtestdb ", "| pgtest ",
		"](charts/one.svg)",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("after the first comparison there is no %q in:\n%s", want, first)
		}
	}
	last := read("RESULTS.md")
	for _, want := range []string{
		"\n- one: A table, pgtestdb: role \"pgtdbuser\" does not exist\n", "\n- two: no server\n",
		" failed |", "\n- pgtestdb failed: role \"pgtdbuser\" does not exist\n",
		"half of it\n\ntwo failed: no server\n", "## three",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("in the end there is no %q in:\n%s", want, last)
		}
	}
	if strings.Contains(last, "have not run") {
		t.Errorf("in the end something is missing:\n%s", last)
	}
	if read("charts/other.svg") != "of another run" || !strings.Contains(read("charts/one.svg"), "<svg") {
		t.Error("the charts are not as they should be")
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*", "*.new")); err != nil || len(names) > 0 {
		t.Errorf("temporary files are left: %v, %v", names, err)
	}
}
