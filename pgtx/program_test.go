package pgtx_test

import (
	"fmt"
	"strings"

	"github.com/page-builder/persistence/pgtx"
	"pgregory.net/rapid"
)

// run is one call of RunWith in a random program.
type run struct {
	id      int
	db      int
	onTx    bool // by the handle of the transaction around it instead of the pool
	eager   bool
	nesting pgtx.Nesting
	steps   []step
	end     ending
}

// ending is how a function ends that came to its end.
type ending int

const (
	returns ending = iota
	fails
	panics
	exits // runtime.Goexit
)

// action is what a step does.
type action int

const (
	insert         action = iota
	divide                // a statement that fails
	misname               // a statement that cannot be prepared
	conflict              // a statement that fails with 40001 the first time it is met
	beforeCommitIs        // registers a hook
	afterCommitIs
	afterRollbackIs
	cancel // ends the ctx of this run, or of one around it
	leave  // returns nil at once, with rows open
	nested
)

// step is one thing that a function does.
type step struct {
	id      int
	action  action
	swallow bool // its error is not returned; a panic is recovered
	fails   bool // the hook does
	writes  bool // the hook does, if it is called before COMMIT
	up      int  // whose ctx: 0 is this run's
	run     *run
}

// deepest is how far runs nest: enough for a savepoint in a savepoint on one database with one on
// the other between them.
const deepest = 4

func drawRun(t *rapid.T, depth int) *run {
	r := &run{
		db:    rapid.IntRange(0, 1).Draw(t, "db"),
		onTx:  rapid.Bool().Draw(t, "by the handle"),
		eager: rapid.IntRange(0, 3).Draw(t, "eager") == 3,
		nesting: rapid.SampledFrom([]pgtx.Nesting{
			pgtx.Savepoint, pgtx.Savepoint, pgtx.Savepoint, pgtx.Join, pgtx.Join,
			pgtx.Separate, pgtx.Required, pgtx.Forbidden,
		}).Draw(t, "nesting"),
		end: rapid.SampledFrom([]ending{
			returns, returns, returns, returns, returns, fails, fails, panics,
			exits,
		}).Draw(t, "end"),
	}
	if depth == 0 && r.nesting == pgtx.Required && rapid.Bool().Draw(t, "required after all") {
		r.nesting = pgtx.Savepoint
	}
	actions := []action{
		insert, insert, insert, divide, misname, conflict, beforeCommitIs, afterCommitIs,
		afterRollbackIs, cancel, leave,
	}
	if depth < deepest {
		actions = append(actions, nested, nested, nested, nested, nested)
	}
	for range rapid.IntRange(0, 5).Draw(t, "steps") {
		s := step{
			action:  rapid.SampledFrom(actions).Draw(t, "action"),
			swallow: rapid.IntRange(0, 2).Draw(t, "swallow") > 0,
		}
		switch s.action {
		case beforeCommitIs, afterCommitIs, afterRollbackIs:
			s.fails = rapid.IntRange(0, 3).Draw(t, "hook fails") == 3
			s.writes = rapid.Bool().Draw(t, "hook writes")
		case cancel:
			s.up = rapid.IntRange(0, depth).Draw(t, "up")
		case nested:
			s.run = drawRun(t, depth+1)
		}
		r.steps = append(r.steps, s)
	}
	return r
}

// number gives every run and step a number of its own.
func (r *run) number(next *int) {
	*next++
	r.id = *next
	for i := range r.steps {
		*next++
		r.steps[i].id = *next
		if r.steps[i].run != nil {
			r.steps[i].run.number(next)
		}
	}
}

func (r *run) String() string {
	var b strings.Builder
	r.write(&b, "")
	return b.String()
}

func (r *run) write(b *strings.Builder, indent string) {
	nesting := []string{"Savepoint", "Join", "Separate", "Required", "Forbidden"}[r.nesting]
	fmt.Fprintf(b, "%s%d: run %s on database %d (by the handle: %t, eager: %t)\n", indent, r.id, nesting, r.db, r.onTx, r.eager)
	for _, s := range r.steps {
		name := []string{
			"insert", "divide by zero", "no such table", "conflict once", "BeforeCommit", "AfterCommit", "AfterRollback",
			"cancel", "return nil with rows open", "nested",
		}[s.action]
		fmt.Fprintf(b, "%s  %d: %s (swallow: %t, fails: %t, writes: %t, up: %d)\n", indent, s.id, name, s.swallow,
			s.fails, s.writes, s.up)
		if s.run != nil {
			s.run.write(b, indent+"    ")
		}
	}
	fmt.Fprintf(b, "%s  %s\n", indent, []string{"return nil", "return an error", "panic", "Goexit"}[r.end])
}
