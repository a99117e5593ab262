package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorded is a report with figures as runs had them, in microseconds, in rounds of which the last
// was disturbed.
func recorded() *report {
	r := &report{Writer: io.Discard}
	add := func(comparison, title string, sides ...measuredSide) {
		r.gather(title, len(sides[0].timesByRound), sides)
		r.measured[len(r.measured)-1].comparison = comparison
	}
	of := func(name string, microseconds ...float64) measuredSide {
		s := measuredSide{name: name}
		for _, t := range microseconds {
			s.timesByRound = append(s.timesByRound, time.Duration(t*1000))
		}
		return s
	}
	add("query", "One query through the pool", of("pgxpool", 19.7, 19.6, 19.9, 40),
		of("pgpool.Connect", 19.9, 19.8, 20.1, 40))
	add("query", "Acquire and release", of("pgxpool", 0.32, 0.32, 0.32, 0.9),
		of("pgpool.Connect", 0.64, 0.65, 0.66, 0.8))
	for _, where := range []string{"loopback", "1ms round trip", "5ms round trip"} {
		add("transaction", "A transaction with one statement, "+where,
			of("pgx.BeginFunc", 200, 200, 200, 700), of("pgtx.Run", 182, 180, 184, 900), of("pgtx.Run, eager",
				218, 220, 216, 500),
			of("pgtx.Run, verified", 214, 210, 213, 600), of("by hand: BEGIN pipelined, no checks", 164, 164, 166, 500),
			of("go-transaction-manager", 216, 220, 215, 600), of("database/sql over pgx", 212, 211, 213, 900),
			of("GORM", 224, 230, 220, 2000))
	}
	add("prisma", "A row read by primary key, 1 at a time on 8 connections", of("pgpool and pgtx", 50, 51, 50, 49),
		of("pgxpool", 49, 48, 49, 51), of("Prisma", 400, 420, 410, 900))
	add("prisma", "A row read by primary key, 64 at a time on 8 connections", of("pgpool and pgtx", 20, 21, 20, 19),
		of("pgxpool", 19.5, 20.5, 19.5, 21), of("Prisma", 200, 220, 210, 400))
	for i, workers := range []float64{1, 4, 16, 64} {
		add("scaling", fmt.Sprintf("Scaling: a transaction with one statement on 16 connections, %.0f workers",
			workers),
			of("pgx.BeginFunc", 300*workers, 310*workers, 290*workers), of("pgtx.Run", 200*workers, 210*workers,
				190*workers), of("GORM", 320*workers, 700*workers, 310*workers+float64(i)*100))
	}
	for _, name := range []string{"query", "transaction", "prisma", "scaling"} {
		r.sections = append(r.sections,
			section{comparison: name, rounds: 4, took: time.Minute, text: "\nwhat " + name + " printed\n"})
	}
	return r
}

func TestWorseThanPeers(t *testing.T) {
	t.Parallel()
	var found []string
	for _, w := range worseThanPeers(recorded().measured) {
		found = append(found, fmt.Sprintf("%s %s %.2f", w.side, w.peer, w.ratio.median))
		if w.reason == noReason {
			t.Errorf("%s, %s: no reason", w.table, w.side)
		}
		if w.ratio.median <= worseFrom {
			t.Errorf("%s, %s: listed with ×%.2f", w.table, w.side, w.ratio.median)
		}
	}
	// The pool's one query is ×1.01, and pgtx.Run behind pgx.BeginFunc in none of the undisturbed
	// rounds.
	if len(found) != 10 || found[0] != "pgpool.Connect pgxpool 2.03" ||
		found[1] != "pgtx.Run, eager by hand: BEGIN pipelined, no checks 1.33" {
		t.Errorf("found %q", found)
	}
	for _, unknown := range [][3]string{
		{"a table that nobody knows", "pgtx.Run", "GORM"},
		{"A transaction with one statement, loopback", "pgtx.Run", "pgx.BeginFunc"},
	} {
		if why := reasonFor(unknown[0], unknown[1], unknown[2]); why != noReason {
			t.Errorf("the reason of %q is %q", unknown, why)
		}
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"pgtx.Run, eager": true, "pgpool.Connect": true, "pgtest": true, "pgmigrate": true,
		"pghealth, ready": true,
		"pgtestdb":        false, "pgxpool": false, "pgx.BeginFunc": false, "GORM": false, "tern": false,
	} {
		if isOurs(name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	r := recorded()
	drawn, err := charts(r.measured)
	if err != nil {
		t.Fatal(err)
	}
	text := string(results(r, []fact{{"processors", "2 × a processor"}}, drawn))
	last := 0
	for _, want := range []string{
		"## Worse than a peer",
		"| pgpool.Connect | Acquire and release | ×2.03 (2.00–2.03) pgxpool | the same | 1 |\n",
		"| pgtx.Run, eager | A transaction with one statement, loopback | ×1.33 (1.30–1.33) by hand: BEGIN " +
			"pipelined, no checks | ×1.09 (1.08–1.09) pgx.BeginFunc | 2 |\n",
		"1. Every acquire gets a context",
		"2. Eager sends BEGIN in a round trip of its own",
		"| processors | 2 × a processor |",
		"## query\n\n`GOWORK=off go -C lab/bench run . -rounds 4 query`: 1m0s.",
		"![A query through the pool. one query: pgxpool ×1.00, pgpool.Connect ×1.01; acquire",
		"](charts/query.svg)\n\nwhat query printed\n",
		"](charts/transaction.svg)",
		"](charts/prisma-a-row-read-by-primary-key-on-8-connections.svg)",
		"](charts/scaling-a-transaction-with-one-statement-on-16-connections.svg)",
	} {
		at := strings.Index(text[last:], want)
		if at < 0 {
			t.Fatalf("no %q there, or before what comes before it, in:\n%s", want, text)
		}
		last += at
	}
}

// A chart is XML, the same each time, and its text and its description name every side and table.
func TestCharts(t *testing.T) {
	t.Parallel()
	r := recorded()
	drawn, err := charts(r.measured)
	if err != nil {
		t.Fatal(err)
	}
	again, err := charts(recorded().measured)
	if err != nil {
		t.Fatal(err)
	}
	if len(drawn) != 4 || len(again) != 4 {
		t.Fatalf("%d and %d charts, want 4: of what was measured as a whole", len(drawn), len(again))
	}
	for i, c := range drawn {
		if !bytes.Equal(c.svg, again[i].svg) {
			t.Errorf("%s is another one the second time", c.file)
		}
		words := svgText(t, c)
		if words["title"] != c.title || words["desc"] != c.alt {
			t.Errorf("%s: its title is %q, its description %q", c.file, words["title"], words["desc"])
		}
		for _, m := range r.measured {
			if m.comparison != c.comparison {
				continue
			}
			for _, s := range m.sides {
				if !strings.Contains(words["text"], s.name+"\n") || !strings.Contains(c.alt, s.name+" ") {
					t.Errorf("%s does not name %q", c.file, s.name)
				}
			}
		}
		if !strings.Contains(words["text"], "lower is better") {
			t.Errorf("%s does not say which is better", c.file)
		}
	}
}

// svgText is the text of an SVG by element.
func svgText(t *testing.T, c *chart) map[string]string {
	t.Helper()
	words := map[string]string{}
	decoder := xml.NewDecoder(bytes.NewReader(c.svg))
	element := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return words
		}
		if err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
		case xml.CharData:
			if element == "text" {
				words[element] += string(token) + "\n"
			} else {
				words[element] += string(token)
			}
		case xml.EndElement:
			element = ""
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "RESULTS.md")
	for name, text := range map[string]string{"RESULTS.md": "old", "charts/transaction.svg": "of another run"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func() []string {
		var names []string
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, strings.TrimPrefix(path, dir+"/"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	before := files()
	query, err := choose([]string{"query"})
	if err != nil {
		t.Fatal(err)
	}

	// Cut off in the first comparison: when its first table has been printed.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "One query") {
			cancel()
		}
		return len(p), nil
	})
	if err := record(ctx, &report{Writer: out}, dir, 1, query); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that of the context", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "old" {
		t.Errorf("a run that was cut off left %q, %v", text, err)
	}
	if after := files(); !slices.Equal(before, after) {
		t.Errorf("a run that was cut off left %q, before there were %q", after, before)
	}

	var printed strings.Builder
	if err := record(t.Context(), &report{Writer: &printed}, dir, 1, query); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## Worse than a peer", "| PostgreSQL | ", "| load average", strings.TrimSpace(printed.String()),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if after := files(); !slices.Equal(after, []string{"RESULTS.md", "charts/query.svg", "charts/transaction.svg"}) {
		t.Errorf("there are %q", after)
	}
	if old, err := os.ReadFile(filepath.Join(dir, "charts/transaction.svg")); err != nil ||
		string(old) != "of another run" {
		t.Errorf("the chart of what did not run is %q, %v", old, err)
	}
}

// What is measured is written after each comparison. A side that fails is shown with its reason, a
// comparison too, and the others go on.
func TestFailuresAreRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	written := func() string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	noRole, noServer := errors.New("role \"pgtdbuser\"\ndoes not exist"), errors.New("no server")
	works := func(context.Context) error { return nil }
	calls := 0
	var first string // what is there when the second comparison begins
	chosen := []comparison{
		{"one", func(ctx context.Context, r *report, rounds int) error {
			return compare(ctx, r, "A table", rounds, 1, side{"pgxpool", works},
				side{"pgtestdb", func(context.Context) error {
					if calls++; calls > 2 { // in the second of the rounds that count
						return noRole
					}
					return nil
				}}, side{"pgtest", works})
		}},
		{"two", func(_ context.Context, r *report, _ int) error {
			first = written()
			r.printf("half of it\n")
			return noServer
		}},
		{"three", func(ctx context.Context, r *report, rounds int) error {
			fails := func(context.Context) error { return noRole }
			return compare(ctx, r, "Another table", rounds, 1, side{"pgxpool", fails}, side{"pgtest", works})
		}},
	}
	err := record(t.Context(), &report{Writer: t.Output()}, dir, 4, chosen)
	if !errors.Is(err, noRole) || !errors.Is(err, noServer) {
		t.Errorf("error is %v, want both failures", err)
	}
	if calls != 3 {
		t.Errorf("the side that failed was called %d times, want 3: it is left out then", calls)
	}
	for _, want := range []string{"These comparisons have not run: two, three.", "| pgtestdb ", "| pgtest "} {
		if !strings.Contains(first, want) {
			t.Errorf("after the first comparison there is no %q in:\n%s", want, first)
		}
	}
	last := written()
	for _, want := range []string{
		"\n- one: A table, pgtestdb: role \"pgtdbuser\" does not exist\n", "\n- two: no server\n",
		"     failed |", "\n- pgtestdb failed: role \"pgtdbuser\" does not exist\n",
		"half of it\n\ntwo failed: no server\n", "## three",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("in the end there is no %q in:\n%s", want, last)
		}
	}
	if strings.Contains(last, "have not run") {
		t.Errorf("in the end something is missing:\n%s", last)
	}
}

// Charts leave out the sides that failed; bars, which compare, are not drawn then. What failed
// bends nowhere and is worse than nothing.
func TestChartsWithFailures(t *testing.T) {
	t.Parallel()
	r := recorded()
	for i, m := range r.measured {
		for j, s := range m.sides {
			if s.name == "pgtx.Run" || m.comparison == "query" {
				r.measured[i].sides[j] = measuredSide{name: s.name, failed: errors.New("gone")}
			}
		}
	}
	drawn, err := charts(r.measured)
	if err != nil {
		t.Fatal(err)
	}
	if len(drawn) != 2 || drawn[0].comparison != "prisma" || drawn[1].comparison != "scaling" ||
		strings.Contains(drawn[1].alt, "pgtx.Run ") {
		t.Errorf("drawn are %v", drawn)
	}
	for _, w := range worseThanPeers(r.measured) {
		if w.side == "pgtx.Run" || w.peer == "pgxpool" && strings.Contains(w.table, "pool") {
			t.Errorf("%s is worse than %s, of which one failed", w.side, w.peer)
		}
	}
	c := &curve{unit: "rows", per: "row"}
	for _, size := range []int{1, 2} {
		c.points = append(c.points,
			point{
				load:  load{size: size, work: 1, atOnce: 1},
				sides: []measuredSide{{name: "GORM", failed: errors.New("gone")}},
			})
	}
	var said strings.Builder
	c.summary(&report{Writer: &said})
	if strings.Count(said.String(), "failed") != 2 {
		t.Errorf("the summary is:\n%s", said.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
