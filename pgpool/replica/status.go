package replica

import "time"

// Status describes a replica, for a health page or a metric.
type Status struct {
	// Replica is its place in DATABASE_REPLICA_URLS, from 0.
	Replica int
	// Host and Port are where it is.
	Host string
	Port uint16
	// Lag says how far it was behind when it was asked last, measured against the primary's
	// position. It is 0 only if the replica has replayed up to where the primary was a moment ago,
	// and negative if it is not known.
	Lag time.Duration
	// Err is why it is not read from, an [*Error], or nil if it is.
	Err error
}

// Replicas returns what is known about each replica, in the order of the configuration. It sends
// nothing.
func (c *Cluster) Replicas() []Status {
	c.mu.Lock() // what it says is what Reader does
	defer c.mu.Unlock()
	all := make([]Status, len(c.replicas))
	for i, s := range c.replicas {
		state := s.state.Load()
		all[i] = Status{Replica: i, Host: s.host, Port: s.port, Lag: state.lag}
		if state.err != nil {
			all[i].Err = s.failed(state.err)
		}
	}
	return all
}
