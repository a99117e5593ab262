package pghealth

import "time"

// AgeSaturation makes the saturation window older, as if nobody had asked for so long.
func (p *Probe) AgeSaturation(d time.Duration) {
	w := &p.databases[0].acquires
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from.at = w.from.at.Add(-d)
	w.to.at = w.to.at.Add(-d)
}
