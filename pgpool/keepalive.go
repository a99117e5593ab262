package pgpool

import (
	"time"

	"github.com/page-builder/persistence/pgconfig"
)

// KeepAlive says when TCP gives up on a peer that vanished. The zero value leaves sockets as they
// were dialed.
type KeepAlive = pgconfig.KeepAlive

// DefaultKeepAlive is the default of [ConnectConfig], and pgconfig's: TCP finds a peer that
// vanished within a minute.
var DefaultKeepAlive = KeepAlive{Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3, UserTimeout: time.Minute}
