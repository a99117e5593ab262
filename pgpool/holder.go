package pgpool

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Holder is somebody who has acquired a connection and not released it yet.
type Holder struct {
	// PID is the server's process behind the connection, as in pg_stat_activity. Behind PgBouncer
	// it is not.
	PID uint32
	// Since is when the connection was acquired.
	Since time.Time
	// Age is how long ago that was when the Holder was read.
	Age time.Duration
	// SQL is the statement sent last on it, without arguments, or "". A statement that mentions a
	// password is not shown.
	SQL string

	stack []uintptr
}

// Stack returns the calls that led to the acquire, one a line, innermost first, or "". It is
// recorded only after a leak has been seen: see [WithLeakThreshold].
func (h Holder) Stack() string {
	if len(h.stack) == 0 {
		return ""
	}
	var text strings.Builder
	frames := runtime.CallersFrames(h.stack)
	for inside := true; ; {
		frame, more := frames.Next()
		// The first ones are the hooks and the pool's own.
		inside = inside && isOurs(frame.Function)
		if !inside && frame.Function != "" {
			fmt.Fprintf(&text, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		}
		if !more {
			return strings.TrimSuffix(text.String(), "\n")
		}
	}
}

func isOurs(function string) bool {
	for _, prefix := range []string{
		"github.com/page-builder/persistence/pgpool.", "github.com/jackc/pgx/v5/multitracer.",
		"github.com/jackc/pgx/v5/pgxpool.",
	} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// maxErrorSQL keeps an error that names holders readable.
const maxErrorSQL = 80 // bytes

// String is one line: age, process and statement.
func (h Holder) String() string {
	sql := strings.Join(strings.Fields(h.SQL), " ")
	if len(sql) > maxErrorSQL {
		sql = strings.ToValidUTF8(sql[:maxErrorSQL], "") + " …"
	}
	if sql == "" {
		sql = "no statement yet"
	}
	return fmt.Sprintf("%s (pid %d): %s", h.Age.Round(time.Millisecond), h.PID, sql)
}

// Holders returns who holds the pool's connections at this moment, oldest first. It is nil for a
// pool that does not come from this package. It locks for as long as it takes to copy, asks the
// server nothing, and is safe for concurrent use.
func Holders(pool *pgxpool.Pool) []Holder {
	if o := observerOf(pool); o != nil {
		return o.holders()
	}
	return nil
}

func (o *observer) holders() []Holder {
	var all []Holder
	o.sessions.each(func(s *session) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.since.IsZero() {
			all = append(all, s.holder())
		}
	})
	slices.SortFunc(all, func(a, b Holder) int { return a.Since.Compare(b.Since) })
	return all
}
