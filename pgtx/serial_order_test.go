package pgtx_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgtx"
)

// cells are a table of named numbers.
type cells map[string]int

// act is a transaction on cells that reports what it saw. It is run twice: by the database, and by
// the checker on a map.
type act struct {
	name string
	do   func(c store) (saw string, err error)
}

// store is what an act works on.
type store interface {
	get(name string) (int, error)
	set(name string, value int) error
	// turn ends the act's turn and waits for its next one, in the attempt whose interleaving is
	// laid down.
	turn()
}

func (c cells) get(name string) (int, error)     { return c[name], nil }
func (c cells) set(name string, value int) error { c[name] = value; return nil }
func (c cells) turn()                            {}

// inSomeOrder reports whether what the acts saw and what they left is what they see and leave one
// after another.
func inSomeOrder(before, after cells, acts []act, saw []string) bool {
	order := make([]int, 0, len(acts))
	var try func(now cells) bool
	try = func(now cells) bool {
		if len(order) == len(acts) {
			return maps.Equal(now, after)
		}
		for n, a := range acts {
			if slices.Contains(order, n) {
				continue
			}
			next := maps.Clone(now)
			if s, _ := a.do(next); s != saw[n] {
				continue
			}
			order = append(order, n)
			if try(next) {
				return true
			}
			order = order[:len(order)-1]
		}
		return false
	}
	return try(before)
}

// TestInSomeOrder makes sure that the checker says both yes and no.
func TestInSomeOrder(t *testing.T) {
	t.Parallel()
	acts := []act{raise("a"), raise("a")}
	for _, tt := range []struct {
		after cells
		saw   []string
		want  bool
	}{
		{cells{"a": 2}, []string{"0", "1"}, true},
		{cells{"a": 2}, []string{"1", "0"}, true},
		{cells{"a": 2}, []string{"0", "0"}, false},
		{cells{"a": 1}, []string{"0", "1"}, false},
	} {
		if got := inSomeOrder(cells{"a": 0}, tt.after, acts, tt.saw); got != tt.want {
			t.Errorf("%v, %v: %t, want %t", tt.after, tt.saw, got, tt.want)
		}
	}
}

// raise is an increment.
func raise(name string) act {
	return act{"raise " + name, func(c store) (string, error) {
		value, err := c.get(name)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(value), c.set(name, value+1)
	}}
}

// schedule lets the first attempts of acts take turns.
type schedule struct {
	order []int // whose turn it is, step by step
	mu    sync.Mutex
	next  int
	moved chan struct{} // closed and made anew when next moves
	gone  map[int]bool  // acts that have ended, or are in a later attempt
}

func newSchedule(order ...int) *schedule {
	return &schedule{order: order, moved: make(chan struct{}), gone: map[int]bool{}}
}

// await returns when it is n's turn. Turns of acts that are gone are skipped.
func (s *schedule) await(ctx context.Context, n int) {
	for {
		s.mu.Lock()
		s.skip()
		mine := s.next >= len(s.order) || s.order[s.next] == n || s.gone[n]
		moved := s.moved
		s.mu.Unlock()
		if mine {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

func (s *schedule) skip() {
	for s.next < len(s.order) && s.gone[s.order[s.next]] {
		s.next++
	}
}

// done ends n's turn, or all of them.
func (s *schedule) done(n int, forGood bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if forGood {
		s.gone[n] = true
	} else if s.next < len(s.order) && s.order[s.next] == n {
		s.next++
	}
	s.skip()
	close(s.moved)
	s.moved = make(chan struct{})
}

// tableStore is cells in the database, used by act n.
type tableStore struct {
	ctx  context.Context
	tx   pgx.Tx
	n    int
	plan *schedule // nil in all attempts but the first
	held bool
}

func (s *tableStore) get(name string) (value int, err error) {
	err = s.tx.QueryRow(s.ctx, `select value from cells where name = $1`, name).Scan(&value)
	return value, err
}

func (s *tableStore) set(name string, value int) error {
	_, err := s.tx.Exec(s.ctx, `update cells set value = $2 where name = $1`, name, value)
	return err
}

func (s *tableStore) turn() {
	if s.plan == nil {
		return
	}
	if s.held {
		s.plan.done(s.n, false)
	}
	s.plan.await(s.ctx, s.n)
	s.held = true
}

// play runs acts at the same time on cells in the database, and returns what they saw in the
// attempt that committed, and what they left.
func play(t *testing.T, b *bundle, level pgx.TxIsoLevel, before cells, acts []act, plan *schedule) (after cells,
	saw []string,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := b.pool.Exec(ctx, `truncate cells`); err != nil {
		t.Fatal(err)
	}
	for name, value := range before {
		if _, err := b.pool.Exec(ctx, `insert into cells values ($1, $2)`, name, value); err != nil {
			t.Fatal(err)
		}
	}
	saw = make([]string, len(acts))
	errs := make([]error, len(acts))
	var all sync.WaitGroup
	for n, a := range acts {
		all.Go(func() {
			opts := pgtx.Options{TxOptions: pgx.TxOptions{IsoLevel: level}, MaxAttempts: 50}
			saw[n], errs[n] = pgtx.ValueWith(ctx, b.pool, opts, func(ctx context.Context, tx pgx.Tx) (string, error) {
				s := &tableStore{ctx: ctx, tx: tx, n: n}
				if pgtx.Attempt(ctx) == 1 {
					s.plan = plan
				} else if plan != nil {
					plan.done(n, true)
				}
				return a.do(s)
			})
			if plan != nil {
				plan.done(n, true) // its COMMIT was its last turn
			}
		})
	}
	all.Wait()
	for n, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v", acts[n].name, err)
		}
	}
	rows, err := b.pool.Query(ctx, `select name, value from cells`)
	if err != nil {
		t.Fatal(err)
	}
	after = cells{}
	var name string
	var value int
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		after[name] = value
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return after, saw
}

func report(acts []act, saw []string, after cells) string {
	var b strings.Builder
	for n, a := range acts {
		fmt.Fprintf(&b, "%s saw %s; ", a.name, saw[n])
	}
	return fmt.Sprintf("%sleft %v", &b, after)
}
