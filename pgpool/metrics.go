package pgpool

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Metrics receives the figures of a pool. The names are OpenTelemetry's, db.client.connection.*;
// which library keeps them is the implementation's choice. Its methods are called by the callers of
// the pool, concurrently, and must not block.
type Metrics interface {
	// Gauges is called once, when the pool has been made, with a function that reads the current
	// figures. It may be called at any time, also after the pool has been closed, and takes a
	// microsecond or two.
	Gauges(read func() Gauges)
	// WaitTime gets how long each acquire of a connection took, db.client.connection.wait_time.
	WaitTime(time.Duration)
	// UseTime gets how long each released connection was held, db.client.connection.use_time.
	UseTime(time.Duration)
	// CreateTime gets how long each new connection took, db.client.connection.create_time.
	CreateTime(time.Duration)
	// Timeout counts the acquires that failed because time was up, db.client.connection.timeouts.
	Timeout()
}

// Gauges are the figures of a pool at one moment.
type Gauges struct {
	Used int64 // db.client.connection.count with state=used
	Idle int64 // db.client.connection.count with state=idle
	Max  int64 // db.client.connection.max
	// db.client.connection.idle.max; the same as Max, since pgxpool has no limit of its own for it.
	IdleMax         int64
	IdleMin         int64 // db.client.connection.idle.min
	PendingRequests int64 // db.client.connection.pending_requests
}

func (o *observer) gauges(pool *pgxpool.Pool) Gauges {
	stat := pool.Stat()
	return Gauges{
		Used: int64(stat.AcquiredConns()), Idle: int64(stat.IdleConns()),
		Max: int64(stat.MaxConns()), IdleMax: int64(stat.MaxConns()), IdleMin: int64(o.cfg.MinIdleConns),
		PendingRequests: o.waiting.Load(),
	}
}
