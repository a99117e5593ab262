package pghealth

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
)

// Pressure is what Stat of a pool does not tell.
type Pressure struct {
	Waiting     int // callers that wait for a connection now
	HeldTooLong int // connections in use for longer than the pool takes for normal
}

// saturationWindow is the least time that waiting and giving up are counted over. Probes come every
// few seconds, from several sides: from one to the next would be too short to mean anything. It is
// twice that at most while probes come regularly.
const saturationWindow = 10 * time.Second

// acquires are counters of a pool at a moment.
type acquires struct {
	at       time.Time
	waited   int64 // until somebody gave a connection back, or it was made
	made     int64
	canceled int64
	waitTime time.Duration
}

func readAcquires(stat *pgxpool.Stat) acquires {
	return acquires{
		at: time.Now(), waited: stat.EmptyAcquireCount(), made: stat.NewConnsCount(),
		canceled: stat.CanceledAcquireCount(), waitTime: stat.EmptyAcquireWaitTime(),
	}
}

// acquireWindow remembers the counters that the present ones are compared with.
type acquireWindow struct {
	mu       sync.Mutex
	from, to acquires // the window begins at from; the next one will begin at to
}

// since returns what happened since the beginning of the window, which moves on, and how long that
// is.
func (w *acquireWindow) since(now acquires) (acquires, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.at.Sub(w.to.at) >= saturationWindow {
		w.from, w.to = w.to, now
	}
	return acquires{
		waited: now.waited - w.from.waited, made: now.made - w.from.made,
		canceled: now.canceled - w.from.canceled, waitTime: now.waitTime - w.from.waitTime,
	}, now.at.Sub(w.from.at)
}

// measureSaturation reads the pool's figures, which costs no connection. It never fails: a busy
// instance that is taken out leaves its load to the others, which are as busy.
func (p *Probe) measureSaturation() observation {
	stat := p.pool.Stat()
	lately, window := p.acquires.since(readAcquires(stat))
	queued := max(lately.waited-lately.made, 0) // a pool that fills is not one that is full
	limit := int64(stat.MaxConns())
	seen := observation{status: pass}.of(float64(stat.AcquiredConns()), "connections", map[string]int64{
		"max":           limit,
		"idle":          int64(stat.IdleConns()),
		"constructing":  int64(stat.ConstructingConns()),
		"windowSeconds": int64(window.Seconds()),
		"queued":        queued,
		"waitedMs":      lately.waitTime.Milliseconds(),
		"gaveUp":        lately.canceled,
	})
	var pressure Pressure
	if p.opts.Pressure != nil {
		pressure = p.opts.Pressure()
		seen.figures["waiting"], seen.figures["heldTooLong"] = int64(pressure.Waiting), int64(pressure.HeldTooLong)
	}
	switch {
	// Acquired only: connections under construction fill a pool too when the server does not
	// answer, and that is what the check of connectivity tells.
	case int64(stat.AcquiredConns()) >= limit:
		seen.output = "all connections of the pool are in use"
	case 2*int64(pressure.HeldTooLong) >= limit:
		seen.output = "half of the pool's connections or more are held for too long"
	// Together: a caller whose own context was done when it came gives up too, with a pool that is
	// idle.
	case lately.canceled > 0 && queued > 0:
		seen.output = "callers gave up waiting for a connection"
	case queued > 0 && lately.waitTime >= window: // by Little's law
		seen.output = "on average at least one caller waits for a connection"
	default:
		return seen
	}
	seen.status, seen.category = warn, pgerr.Saturated
	return seen
}
