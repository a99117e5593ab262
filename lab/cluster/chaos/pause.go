package chaos

import (
	"slices"
	"sync"
	"time"
)

// moments are when something succeeded. It is safe for concurrent use.
type moments struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *moments) add(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, at)
}

func (m *moments) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// after returns how many there were after a moment.
func (m *moments) after(from time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, at := range m.all {
		if at.After(from) {
			n++
		}
	}
	return n
}

// span is a time without a success.
type span struct{ start, end time.Time }

func (s span) length() time.Duration { return s.end.Sub(s.start) }

// pauses returns all times of at least the given length without a success that ended between from
// and to. The last one ends at to.
func (m *moments) pauses(from, to time.Time, atLeast time.Duration) []span {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []span
	last := from
	for _, at := range append(slices.SortedFunc(slices.Values(m.all), time.Time.Compare), to) {
		if at.After(to) {
			break
		}
		if at.After(from) && at.Sub(last) >= atLeast {
			found = append(found, span{last, at})
		}
		last = at
	}
	return found
}

// pause returns the longest of [moments.pauses].
func (m *moments) pause(from, to time.Time) span {
	var longest span
	for _, s := range m.pauses(from, to, 0) {
		if s.length() > longest.length() {
			longest = s
		}
	}
	return longest
}
