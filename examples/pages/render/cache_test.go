package render

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
)

// database answers a cache's reads, one at a time, when the test says so.
type database struct {
	asked  chan string
	answer chan *page
}

func newCache() (*cache, *database) {
	d := &database{make(chan string), make(chan *page)}
	return &cache{load: func(_ context.Context, path string) (*page, error) {
		d.asked <- path
		if p := <-d.answer; p != nil {
			return p, nil
		}
		return nil, pgx.ErrNoRows
	}}, d
}

func ask(t *testing.T, c *cache, path string) chan *page {
	t.Helper()
	got := make(chan *page, 1)
	go func() {
		p, err := c.get(t.Context(), path)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Error(err)
		}
		got <- p
	}()
	return got
}

func TestCacheReadsOnce(t *testing.T) {
	t.Parallel()
	c, d := newCache()
	first := ask(t, c, "/")
	<-d.asked
	second := ask(t, c, "/")
	want := &page{revision: 1}
	d.answer <- want
	if <-first != want || <-second != want || <-ask(t, c, "/") != want {
		t.Error("not the page that was read")
	}
}

// A page that was read before a notification and arrives after it is old.
func TestCacheKeepsNothingThatWasForgottenWhileItWasRead(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*cache){
		"the path": func(c *cache) { c.forget("/") },
		"all":      func(c *cache) { c.forgetAll() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := newCache()
			before := ask(t, c, "/")
			<-d.asked
			forget(c)
			after := ask(t, c, "/")
			<-d.asked // it does not wait for the read that began before
			older, newer := &page{revision: 1}, &page{revision: 2}
			d.answer <- older
			d.answer <- newer
			// Either read may get either answer, as both are in the database. Only the kept page
			// counts.
			got := [2]*page{<-before, <-after}
			if kept := <-ask(t, c, "/"); kept != got[1] {
				t.Errorf("kept revision %d; who asked afterwards had %d", kept.revision, got[1].revision)
			}
		})
	}
}

func TestCacheForgets(t *testing.T) {
	t.Parallel()
	c, d := newCache()
	for _, want := range []*page{{revision: 1}, {revision: 2}, nil, {revision: 3}} {
		got := ask(t, c, "/about")
		if path := <-d.asked; path != "/about" {
			t.Errorf("asked for %s", path)
		}
		d.answer <- want
		if p := <-got; p != want {
			t.Errorf("got %v, want %v", p, want)
		}
		if want != nil { // a path without a page is not kept
			c.forget("/about")
		}
	}
}

func TestCacheCallerGoesAway(t *testing.T) {
	t.Parallel()
	c, d := newCache()
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := c.get(ctx, "/"); gone <- err }()
	<-d.asked
	stays := ask(t, c, "/")
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that went away got %v", err)
	}
	want := &page{revision: 1}
	d.answer <- want
	if <-stays != want {
		t.Error("the other caller did not get the page")
	}
}
