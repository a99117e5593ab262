package pghealth

import "github.com/page-builder/persistence/pgerr"

// measureSaturation reads the pool's figures, which costs no connection. It never fails: a busy instance that is taken
// out leaves its load to the others, which are as busy.
func (p *Probe) measureSaturation() observation {
	stat := p.pool.Stat()
	acquired := float64(stat.AcquiredConns())
	seen := observation{
		status: pass, value: &acquired, unit: "connections",
		figures: map[string]int64{
			"max":              int64(stat.MaxConns()),
			"idle":             int64(stat.IdleConns()),
			"constructing":     int64(stat.ConstructingConns()),
			"emptyAcquires":    stat.EmptyAcquireCount(),
			"canceledAcquires": stat.CanceledAcquireCount(),
		},
	}
	// Acquired only: connections under construction fill a pool too when the server does not answer, and that is what
	// the check of connectivity tells.
	if stat.AcquiredConns() >= stat.MaxConns() {
		seen.status, seen.category, seen.output = warn, pgerr.Saturated, "all connections of the pool are in use"
	}
	return seen
}
