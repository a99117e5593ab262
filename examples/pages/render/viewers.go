package render

import "sync"

// viewers are the previews that are open, by the path they show.
type viewers struct {
	mu     sync.Mutex
	closed bool
	byPath map[string]map[chan struct{}]bool
}

// watch returns a channel that has something in it when the path may show something else, and is
// closed when the service ends; and a function that ends the watching. A viewer that is slow misses
// repetitions, never the last change.
func (v *viewers) watch(path string) (<-chan struct{}, func()) {
	changed := make(chan struct{}, 1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		close(changed)
		return changed, func() {}
	}
	if v.byPath == nil {
		v.byPath = map[string]map[chan struct{}]bool{}
	}
	if v.byPath[path] == nil {
		v.byPath[path] = map[chan struct{}]bool{}
	}
	v.byPath[path][changed] = true
	return changed, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.byPath[path], changed)
		if len(v.byPath[path]) == 0 {
			delete(v.byPath, path)
		}
	}
}

func (v *viewers) tell(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for changed := range v.byPath[path] {
		tell(changed)
	}
}

func (v *viewers) tellAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, some := range v.byPath {
		for changed := range some {
			tell(changed)
		}
	}
}

// close ends all watching.
func (v *viewers) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for _, some := range v.byPath {
		for changed := range some {
			close(changed)
		}
	}
	v.byPath = nil
}

func tell(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default: // it has not looked since the last time
	}
}
