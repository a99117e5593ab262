package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgerr"
)

var (
	// ErrExhausted is what an [AcquireError] is if all connections of the pool were in use.
	ErrExhausted = errors.New("pool exhausted")

	// ErrNotAnswering is what an [AcquireError] is if the pool had room, but the server did not
	// complete a connection.
	ErrNotAnswering = errors.New("server does not answer")
)

// AcquireError is returned by every method of the pool that needs a connection (Acquire, Exec,
// Query, Begin, …) when it got none in time. It is either [ErrExhausted] or [ErrNotAnswering], and
// always [context.DeadlineExceeded].
type AcquireError struct {
	// Waited is how long the caller waited: the acquire timeout, or less if its own deadline was
	// earlier.
	Waited time.Duration
	// OwnDeadline says that it was the caller's deadline and not the acquire timeout that ended the
	// wait.
	OwnDeadline bool

	// The pool's figures at that moment. Max is its limit, Total = InUse + Idle + Constructing, and
	// Waiting counts the callers in line for a connection, this one included.
	Max, Total, InUse, Idle, Constructing int32
	Waiting                               int64

	// Oldest are those who have held a connection longest, at most three, oldest first.
	Oldest []Holder
}

// maxOldest is how many holders an error names: usually they all do the same.
const maxOldest = 3

func (o *observer) acquireError(pool *pgxpool.Pool, waited time.Duration, ours bool) *AcquireError {
	stat, oldest := pool.Stat(), o.holders()
	if len(oldest) > maxOldest {
		oldest = oldest[:maxOldest]
	}
	return &AcquireError{
		Waited: waited, OwnDeadline: !ours,
		Max: stat.MaxConns(), Total: stat.TotalConns(), InUse: stat.AcquiredConns(), Idle: stat.IdleConns(),
		Constructing: stat.ConstructingConns(), Waiting: o.waiting.Load(), Oldest: oldest,
	}
}

// notAnswering tells the two reasons for a vain wait apart: a pool with connections still under
// construction had room, so what was missing is the server's answer.
func (e *AcquireError) notAnswering() bool { return e.Constructing > 0 && e.InUse < e.Max }

func (e *AcquireError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "acquire: no connection within %s", e.Waited.Round(time.Millisecond))
	if e.OwnDeadline {
		text.WriteString(" (the caller's deadline)")
	}
	if e.notAnswering() {
		text.WriteString(": the server does not answer")
	} else {
		text.WriteString(": the pool is busy")
	}
	fmt.Fprintf(&text, " (limit %d, total %d, in use %d, idle %d, constructing %d, waiting %d): ",
		e.Max, e.Total, e.InUse, e.Idle, e.Constructing, e.Waiting)
	if e.notAnswering() {
		text.WriteString("check that the database is up and reachable")
	} else {
		text.WriteString("look for connections held too long or never released, or raise the pool's limit " +
			"(DATABASE_POOL_MAX_CONNS)")
	}
	for i, holder := range e.Oldest {
		if i == 0 {
			text.WriteString("; held longest: ")
		} else {
			text.WriteString("; ")
		}
		text.WriteString(holder.String())
	}
	return text.String()
}

// Is reports whether target is what this error stands for.
func (e *AcquireError) Is(target error) bool {
	switch target {
	case ErrNotAnswering:
		return e.notAnswering()
	case ErrExhausted:
		return !e.notAnswering()
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
	if e.notAnswering() {
		return pgerr.Timeout
	}
	return pgerr.Saturated
}
