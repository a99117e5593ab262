package render

import (
	"context"
	"sync"
)

// cache keeps the pages that are online. It reads a page once, however many callers ask for it at
// once. It does not keep paths without a page, because there is no limit to them.
type cache struct {
	load func(ctx context.Context, path string) (*page, error)

	mu      sync.Mutex
	pages   map[string]*page
	reading map[string]*reading
}

// reading is a query under way.
type reading struct {
	done chan struct{} // closed when page and err are set
	page *page
	err  error
}

// get returns the page at a path. A caller that asks after forget has returned gets a page that was
// read after it.
func (c *cache) get(ctx context.Context, path string) (*page, error) {
	c.mu.Lock()
	if p, ok := c.pages[path]; ok {
		c.mu.Unlock()
		return p, nil
	}
	now, ok := c.reading[path]
	if !ok {
		now = &reading{done: make(chan struct{})}
		if c.reading == nil {
			c.reading, c.pages = map[string]*reading{}, map[string]*page{}
		}
		c.reading[path] = now
		// Do not use ctx: others may wait for the same page when this caller goes away.
		go c.read(context.WithoutCancel(ctx), path, now)
	}
	c.mu.Unlock()
	select {
	case <-now.done:
		return now.page, now.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cache) read(ctx context.Context, path string, now *reading) {
	now.page, now.err = c.load(ctx, path)
	c.mu.Lock()
	// If the page was forgotten meanwhile, the result may be old. Only callers that asked before
	// that get it.
	if c.reading[path] == now {
		delete(c.reading, path)
		if now.err == nil {
			c.pages[path] = now.page
		}
	}
	c.mu.Unlock()
	close(now.done)
}

func (c *cache) forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pages, path)
	delete(c.reading, path)
}

func (c *cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pages)
	clear(c.reading)
}
