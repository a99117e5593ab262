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

// pause returns the longest time without a success that ended after from, and before to. What has
// not ended by then ends there.
func (m *moments) pause(from, to time.Time) (start time.Time, length time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.SortedFunc(slices.Values(m.all), time.Time.Compare)
	last := from
	for _, at := range append(all, to) {
		if at.After(to) {
			break
		}
		if at.After(from) && at.Sub(last) > length {
			start, length = last, at.Sub(last)
		}
		last = at
	}
	return start, length
}
