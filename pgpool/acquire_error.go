package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

var (
	// ErrExhausted matches an [AcquireError] if the pool's connections were in use.
	ErrExhausted = errors.New("pool exhausted")

	// ErrNotAnswering matches an [AcquireError] if a place in the pool was free, and the server
	// did not complete a connection there or did not answer on an idle one.
	ErrNotAnswering = errors.New("server does not answer")
)

// AcquireError is returned by every method of the pool that needs a connection (Acquire, Exec,
// Query, Begin, …) when it got none in time. It is either [ErrExhausted] or [ErrNotAnswering], and
// always [context.DeadlineExceeded].
//
// A context that had ended before the call is no AcquireError: nothing was waited for.
type AcquireError struct {
	// Waited says how long the caller waited: the acquire timeout, or less if its own deadline was
	// earlier.
	Waited time.Duration
	// OwnDeadline says that the caller's deadline ended the wait and not the acquire timeout.
	OwnDeadline bool

	// The pool's figures at that moment. Max is its limit, Total = InUse + Idle + Constructing, and
	// Waiting counts the callers in line for a connection, this one included.
	Max, Total, InUse, Idle, Constructing int32
	Waiting                               int64

	// Oldest are the holders that have had a connection longest, at most three, oldest first.
	Oldest []Holder

	notAnswering bool
}

// maxOldest is how many holders an error names: usually they all do the same.
const maxOldest = 3

// acquireError takes time in proportion to the number of connections, not to the size of their
// statements.
func (o *observer) acquireError(c *acquireContext, ownDeadline bool) *AcquireError {
	stat := o.pool.Load().Stat()
	held, hijacked := o.held()
	// A caller that got no place in the pool blames what occupies the places: holders, or
	// connections that wait for the server. A connection on its way to its next holder is neither.
	asked := int64(stat.ConstructingConns()) + o.checking.Load()
	return &AcquireError{
		Waited: o.clock() - c.began, OwnDeadline: ownDeadline,
		Max: stat.MaxConns(), Total: stat.TotalConns(), InUse: stat.AcquiredConns(), Idle: stat.IdleConns(),
		Constructing: stat.ConstructingConns(), Waiting: o.waiting.Load(),
		Oldest:       describe(held[:min(maxOldest, len(held))], hijacked, maxErrorSQL),
		notAnswering: c.stage.Load() != waiting || asked > int64(len(held)-hijacked),
	}
}

func (e *AcquireError) Error() string {
	deadline, cause := "", ": the pool is busy"
	remedy := "look for connections held too long or never released, or raise the pool's limit " +
		"(DATABASE_POOL_MAX_CONNS)"
	if e.OwnDeadline {
		deadline = " (the caller's deadline)"
	}
	if e.notAnswering {
		cause, remedy = ": the server does not answer", "check that the database is up and reachable"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "acquire: no connection within %s%s%s (limit %d, total %d, in use %d, idle %d, "+
		"constructing %d, waiting %d): %s", e.Waited.Round(time.Millisecond), deadline, cause,
		e.Max, e.Total, e.InUse, e.Idle, e.Constructing, e.Waiting, remedy)
	writeHolders(&text, "; held longest: ", e.Oldest)
	return text.String()
}

// Is reports whether target is what this error stands for.
func (e *AcquireError) Is(target error) bool {
	switch target {
	case ErrNotAnswering:
		return e.notAnswering
	case ErrExhausted:
		return !e.notAnswering
	case context.DeadlineExceeded:
		return true
	}
	return false
}

// Timeout is true, as for every error that stands for an exceeded deadline.
func (e *AcquireError) Timeout() bool { return true }

// Category is [pgerr.Saturated] for a busy pool and [pgerr.Timeout] for a server that does not
// answer.
func (e *AcquireError) Category() pgerr.Category {
	if e.notAnswering {
		return pgerr.Timeout
	}
	return pgerr.Saturated
}
