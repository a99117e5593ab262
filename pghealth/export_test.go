package pghealth

import "time"

// AgeSaturation makes the saturation window older, as if the last question were that long ago.
func (p *Probe) AgeSaturation(d time.Duration) {
	for _, db := range p.databases {
		w := &db.acquires
		w.mu.Lock()
		w.from.at = w.from.at.Add(-d)
		w.to.at = w.to.at.Add(-d)
		w.full = w.full.Add(-d)
		w.mu.Unlock()
	}
}

// RecordLate returns the status that a waiter gets if its timer fires after connectivity has
// passed.
func (p *Probe) RecordLate() string {
	f := &flight{done: make(chan struct{}), seen: observation{Status: pass}}
	return string(p.databases[0].checks[1].recordLate(f, time.Second).Status)
}

// LagMemory returns how many positions the probe keeps of a replica that is behind.
func (p *Probe) LagMemory() int { return len(p.databases[0].lag.ahead) }
