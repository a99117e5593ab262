package pgtest

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Watched is the statements that a test sends through a pool. It is safe for concurrent use.
type Watched struct {
	t    TB
	pool *pgxpool.Pool

	mu         sync.Mutex
	statements []statement
}

// statement is one that was sent. Its arguments are never printed: they may be secrets.
type statement struct {
	sql     string
	args    []any
	sum     uint64 // of the arguments as they were, because the test may change them
	callers callers
	batch   bool // sent with others, in one round trip
}

// Watch records the statements that are sent through the pool from now on, until the test ends. It
// sees what pgx, pgtx, pgquery and sqlc's code send, not what goes through a *pgconn.PgConn. BEGIN,
// COMMIT, savepoints, SET and comments do not count. A text with several statements counts once, by
// its first.
//
// [New] makes pools that can be watched. For any other pool put [NewTracer]'s result into its
// configuration; otherwise Watch fails the test.
func Watch(t TB, pool *pgxpool.Pool) *Watched {
	t.Helper()
	tracer := findTracer(pool.Config().ConnConfig.Tracer)
	if tracer == nil {
		t.Fatalf("pgtest: this pool cannot be watched: make it with pgtest.New, or set ConnConfig.Tracer to " +
			"pgtest.NewTracer() before the pool is made")
		return nil
	}
	w := &Watched{t: t, pool: pool}
	tracer.add(w)
	t.Cleanup(func() { tracer.remove(w) })
	return w
}

// Reset forgets what was sent so far.
func (w *Watched) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statements = nil
}

// Count returns how many statements were sent.
func (w *Watched) Count() int { return len(w.sent()) }

// AtMost fails the test if more than n statements were sent, and lists them. A statement that was
// sent three times or more with different arguments is named as n + 1, with the lines that sent it.
func (w *Watched) AtMost(n int) {
	w.t.Helper()
	sent := w.sent()
	if len(sent) > n {
		w.t.Errorf("pgtest: %d statements were sent, want at most %d:%s", len(sent), n, describe(group(sent)))
	}
}

// NoRepeats fails the test if a statement was sent three times or more with different arguments,
// outside of a batch: it is called once for each row of another statement's result.
func (w *Watched) NoRepeats() {
	w.t.Helper()
	var repeated []*sameStatement
	for _, g := range group(w.sent()) {
		if g.isRepeated() {
			repeated = append(repeated, g)
		}
	}
	if len(repeated) > 0 {
		w.t.Errorf("pgtest: statements are sent for one row after another:%s", describe(repeated))
	}
}

func (w *Watched) sent() []statement {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.statements)
}

// sameStatement is all statements with one text.
type sameStatement struct {
	statements []statement
	arguments  map[uint64]bool // sums of those outside of batches
}

func group(statements []statement) []*sameStatement {
	var groups []*sameStatement
	byText := map[string]*sameStatement{}
	for _, s := range statements {
		g := byText[s.sql]
		if g == nil {
			g = &sameStatement{arguments: map[uint64]bool{}}
			byText[s.sql] = g
			groups = append(groups, g)
		}
		g.statements = append(g.statements, s)
		if !s.batch {
			g.arguments[s.sum] = true
		}
	}
	return groups
}

// sumArgs looks through pointers: sqlc's code passes nullable values by them.
func sumArgs(args []any) uint64 {
	h := fnv.New64a()
	for _, arg := range args {
		v := reflect.ValueOf(arg)
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		fmt.Fprintf(h, "%#v,", v)
	}
	return h.Sum64()
}

// repeats is how many different arguments make a statement one that is repeated. Two are as often a
// pair, such as the two sides of a transfer.
const repeats = 3

func (g *sameStatement) isRepeated() bool { return len(g.arguments) >= repeats }

func describe(groups []*sameStatement) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%d × %s", len(g.statements), indent(g.statements[0].sql))
		if g.isRepeated() {
			fmt.Fprintf(&b, "\n  n + 1: sent with %d different arguments; fetch the rows with one statement, such as "+
				"where id = any($1)", len(g.arguments))
		}
		var places []string
		for _, s := range g.statements {
			if place := s.callers.String(); !slices.Contains(places, place) {
				places = append(places, place)
				b.WriteString("\n  at " + place)
			}
		}
	}
	return b.String()
}

func indent(sql string) string {
	return strings.ReplaceAll(strings.TrimSpace(sql), "\n", "\n    ")
}
