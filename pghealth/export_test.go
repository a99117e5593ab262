package pghealth

import "time"

// AgeSaturation makes the saturation window older, as if nobody had asked for so long.
func (p *Probe) AgeSaturation(d time.Duration) {
	p.acquires.mu.Lock()
	defer p.acquires.mu.Unlock()
	p.acquires.from.at = p.acquires.from.at.Add(-d)
	p.acquires.to.at = p.acquires.to.at.Add(-d)
}
