package pgpool

import "time"

// KeepAlive says when TCP gives up on a peer that vanished. The zero value leaves sockets as they
// were dialed.
type KeepAlive struct {
	// Idle is the silence before the first probe.
	Idle time.Duration
	// Interval is the time between two probes that get no answer.
	Interval time.Duration
	// Count is how many unanswered probes end the connection.
	Count int
	// UserTimeout is how long sent data may stay unacknowledged: TCP_USER_TIMEOUT, on Linux only.
	// TCP probes only while no data is under way. Without this limit a query to a peer that
	// vanished waits about 15 minutes.
	UserTimeout time.Duration
}

// DefaultKeepAlive is the default of [ConnectConfig], and pgconfig's: TCP finds a peer that
// vanished within a minute.
var DefaultKeepAlive = KeepAlive{Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3, UserTimeout: time.Minute}
