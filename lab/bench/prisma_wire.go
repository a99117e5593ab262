package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	faultkit "github.com/page-builder/persistence/pgtest/pgserver/fault"
)

// tap is a socket in front of the server's that notes what clients send.
type tap struct {
	url  string
	mu   sync.Mutex
	trip int        // the last one
	sent [][]string // the statements of each round trip: what was sent after the server had spoken
}

// whatIsSent prints what each side sends for one operation, when it has done it before, and how
// many statements it sends for manyCallers of them at once.
func whatIsSent(ctx context.Context, r *report, url string, openers []opener) error {
	sent := make([][]string, len(openers))
	for i, o := range openers {
		var err error
		if sent[i], err = o.sends(ctx, url); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	for i, op := range operations {
		r.printf("\n%s: what is sent, a line for each round trip\n\n", op.title)
		var seen []string
		for _, of := range sent {
			if slices.Contains(seen, of[i]) {
				continue
			}
			seen = append(seen, of[i])
			var names []string
			for side, o := range openers {
				if sent[side][i] == of[i] {
					names = append(names, o.name)
				}
			}
			r.printf("- %s; %s", strings.Join(names, "; "), of[i])
		}
	}
	return nil
}

// sends is what it sends for each of the operations.
func (o opener) sends(ctx context.Context, url string) ([]string, error) {
	tap, closeTap, err := newTap(ctx, url)
	if err != nil {
		return nil, err
	}
	defer closeTap()
	side, err := o.open(ctx, tap.url, 1)
	if err != nil {
		return nil, err
	}
	defer side.close()
	sent := make([]string, len(operations))
	for i, op := range operations {
		if _, err := side.batch(ctx, op.name, 1, 3); err != nil {
			return nil, err
		}
		tap.since()
		if _, err := side.batch(ctx, op.name, 1, 0); err != nil {
			return nil, err
		}
		one := tap.since()
		if _, err := side.batch(ctx, op.name, manyCallers, 0); err != nil {
			return nil, err
		}
		sent[i] = fmt.Sprintf("statements for %d at once: %d\n", manyCallers, len(slices.Concat(tap.since()...)))
		for n, trip := range one {
			sent[i] += fmt.Sprintf("  %d. %s\n", n+1, strings.Join(trip, "; "))
		}
	}
	return sent, nil
}

// since is what was sent since the last call.
func (t *tap) since() [][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	sent := t.sent
	t.sent = nil
	return sent
}

// newTap puts a tap in front of the database. The returned function ends it.
func newTap(ctx context.Context, address string) (*tap, func(), error) {
	test := &test{ctx: ctx}
	t := &tap{}
	err := test.try(func() {
		p := faultkit.NewProxy(test, address, faultkit.Options{Unix: true})
		p.OnRequest(func(r faultkit.Request) faultkit.Cut {
			t.note(p.Stats().Flushes, r)
			return faultkit.Pass
		})
		t.url = p.URL()
	})
	return t, test.end, err
}

// note adds a statement to what was sent in a round trip.
func (t *tap) note(trip int, r faultkit.Request) {
	text := "parsed and planned anew: " + r.SQL
	switch {
	case r.Simple:
		text = "simple: " + r.SQL
	case r.Statement != "":
		text = "prepared: " + r.SQL
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sent) == 0 || trip != t.trip {
		t.sent = append(t.sent, nil)
	}
	t.trip = trip
	last := len(t.sent) - 1
	t.sent[last] = append(t.sent[last], text)
}
