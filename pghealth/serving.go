package pghealth

// measureServing fails once Drain was called.
func (p *Probe) measureServing() observation {
	if p.drained.Load() != nil {
		return observation{status: fail, output: "the service is shutting down"}
	}
	return observation{status: pass}
}
