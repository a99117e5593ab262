package fault

import (
	"sync"
	"time"
)

// Direction says which way a fault of a [Proxy] acts.
type Direction int

// The directions.
const (
	Both       Direction = iota
	ToServer             // what clients send
	FromServer           // what the server answers
)

func (p *Proxy) eachLink(d Direction, change func(*link)) {
	if d != FromServer {
		p.links[0].set(change)
	}
	if d != ToServer {
		p.links[1].set(change)
	}
}

func (p *Proxy) link(d Direction) *link {
	if d == ToServer {
		return &p.links[0]
	}
	return &p.links[1]
}

// link decides when bytes may pass in one direction, for all connections of a proxy.
type link struct {
	mu      sync.Mutex
	frozen  bool
	delay   time.Duration
	rate    int           // bytes per second, or 0
	free    time.Time     // when the link has passed what it took, at its rate
	changed chan struct{} // closed at the next change
}

func (l *link) set(change func(*link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// admit waits until what arrived at a time may pass, and returns how many of its n bytes may pass
// now. It returns false if done closes first.
func (l *link) admit(arrived time.Time, n int, done <-chan struct{}) (int, bool) {
	for {
		wait, k, changed := l.take(arrived, n)
		if wait == 0 {
			return k, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-done:
			timer.Stop()
			return 0, false
		}
		timer.Stop()
	}
}

// take returns how long to wait, or zero and the number of bytes that may pass.
func (l *link) take(arrived time.Time, n int) (wait time.Duration, k int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	if l.frozen {
		return 1 << 62, 0, l.changed // until the change
	}
	now, due := time.Now(), arrived.Add(l.delay)
	if l.rate > 0 && l.free.After(due) {
		due = l.free
	}
	if due.After(now) {
		return due.Sub(now), 0, l.changed
	}
	if l.rate == 0 {
		return 0, n, nil
	}
	// A hundredth of a second at a time, so that the flow is even.
	k = min(n, max(1, l.rate/100))
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(k) * time.Second / time.Duration(l.rate))
	return 0, k, nil
}
