package pghealth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
)

// saturationWindow is the shortest time over which waiting and giving up are counted. Probes come
// from several sides every few seconds, so the time between two probes is too short to mean
// anything. While probes come regularly, the window is at most twice as long.
const saturationWindow = 10 * time.Second

// acquires are the counters of a pool at a moment.
type acquires struct {
	at       time.Time
	waited   int64 // acquires that waited for a connection to be returned or opened
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

// acquireWindow keeps earlier counters to compare the current ones with.
type acquireWindow struct {
	mu       sync.Mutex
	from, to acquires  // the window begins at from; the next one will begin at to
	full     time.Time // when all connections were last seen in use; zero: never
}

// since returns the changes since the start of the window, the length of the window, and whether a
// look in the last saturationWindow found all connections in use. It also moves the window.
func (w *acquireWindow) since(now acquires, full bool) (lately acquires, window time.Duration, wasFull bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if full {
		w.full = now.at
	}
	if now.at.Sub(w.to.at) >= saturationWindow {
		w.from, w.to = w.to, now
	}
	return acquires{
		waited: now.waited - w.from.waited, made: now.made - w.from.made,
		canceled: now.canceled - w.from.canceled, waitTime: now.waitTime - w.from.waitTime,
	}, now.at.Sub(w.from.at), now.at.Sub(w.full) < saturationWindow
}

// measureSaturation reads the pool's figures, which costs no connection. It never fails: taking a
// busy instance out would move its load to others that are just as busy.
func (d *database) measureSaturation(context.Context) observation {
	stat := d.pool.Stat()
	inUse, limit := int64(stat.AcquiredConns()), int64(stat.MaxConns())
	lately, window, wasFull := d.acquires.since(readAcquires(stat), inUse >= limit)
	queued := max(lately.waited-lately.made, 0) // filling a pool is not exhausting it
	text := fmt.Sprintf("%d of %d in use", inUse, limit)
	if queued > 0 || lately.canceled > 0 {
		text += fmt.Sprintf("; %d waited and %d gave up in %s", queued, lately.canceled, humanize(window))
	}
	seen := observation{Status: pass, Figures: map[string]int64{
		"max":           limit,
		"idle":          int64(stat.IdleConns()),
		"constructing":  int64(stat.ConstructingConns()),
		"windowSeconds": int64(window.Seconds()),
		"queued":        queued,
		"waitedMs":      lately.waitTime.Milliseconds(),
		"gaveUp":        lately.canceled,
	}}.withValue(inUse, "connections", text)
	switch {
	// Count acquired connections only. If the server does not answer, connections under
	// construction fill the pool too, and connectivity reports that.
	case inUse >= limit:
		seen.Output = "all connections of the pool are in use"
	case wasFull: // otherwise a pool that is full now and then would change its status at each look
		seen.Output = "all connections of the pool were in use a moment ago"
	// Both conditions: a caller with a context that is already done gives up on an idle pool too.
	case lately.canceled > 0 && queued > 0:
		seen.Output = "callers gave up waiting for a connection"
	case queued > 0 && lately.waitTime >= window: // by Little's law
		seen.Output = "on average at least one caller waits for a connection"
	default:
		return seen
	}
	seen.Status, seen.Category = warn, pgerr.Saturated
	return seen
}
