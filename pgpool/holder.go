package pgpool

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/page-builder/persistence/pgpool/internal/mask"
)

// Holder is a caller that has acquired a connection and not released it yet.
type Holder struct {
	// PID is the server's process behind the connection, as in pg_stat_activity. Behind PgBouncer
	// it is not.
	PID uint32
	// Since is when the connection was acquired.
	Since time.Time
	// Age is the time from Since until the Holder was read.
	Age time.Duration
	// SQL is the statement that was sent last, or "". It has no arguments, its string literals are
	// replaced by '…' (numbers stay), and it is cut: after 2,000 bytes in [Holders], after 80 in an
	// error.
	SQL string
	// MayBeHijacked is set on every holder while some connections are hijacked: pgx tells how many,
	// but not which.
	MayBeHijacked bool

	session *session
	since   time.Duration // on the pool's clock
	stack   []uintptr
}

// Stack returns the calls that led to the acquire, one a line, innermost first, or "". It is
// recorded only for a while after a leak has been seen: see [WithLeakThreshold].
func (h Holder) Stack() string {
	if len(h.stack) == 0 {
		return ""
	}
	var text strings.Builder
	frames := runtime.CallersFrames(h.stack)
	for inside := true; ; {
		frame, more := frames.Next()
		// The first ones are the hooks and the pool's own.
		inside = inside && slices.ContainsFunc(ours, func(prefix string) bool {
			return strings.HasPrefix(frame.Function, prefix)
		})
		if !inside && frame.Function != "" {
			fmt.Fprintf(&text, "%s %s:%d\n", frame.Function, frame.File, frame.Line)
		}
		if !more {
			return strings.TrimSuffix(text.String(), "\n")
		}
	}
}

var ours = []string{
	"github.com/page-builder/persistence/pgpool.", "github.com/jackc/pgx/v5/multitracer.",
	"github.com/jackc/pgx/v5/pgxpool.",
}

const (
	// maxErrorSQL keeps an error that names holders readable.
	maxErrorSQL = 80 // bytes
	// maxLoggedSQL keeps one generated statement from filling the log. The head names the tables.
	maxLoggedSQL = 2000 // bytes
)

// String is one line: age, process and at most 80 bytes of the statement.
func (h Holder) String() string {
	sql := h.SQL
	if len(sql) > maxErrorSQL+len(mask.CutMark) {
		sql = strings.ToValidUTF8(sql[:maxErrorSQL], "") + mask.CutMark
	}
	if sql = strings.Join(strings.Fields(sql), " "); sql == "" {
		sql = "no statement yet"
	}
	note := ""
	if h.MayBeHijacked {
		note = ", perhaps hijacked"
	}
	return fmt.Sprintf("%s (pid %d%s): %s", h.Age.Round(time.Millisecond), h.PID, note, sql)
}

func writeHolders(text *strings.Builder, before string, holders []Holder) {
	for _, holder := range holders {
		text.WriteString(before + holder.String())
		before = "; "
	}
}

// Holders returns who holds the pool's connections at this moment, oldest first. It is nil for a
// pool that does not come from this package.
//
// Hijacked connections are among them until they are closed: see MayBeHijacked. It asks the server
// nothing.
func Holders(pool *pgxpool.Pool) []Holder {
	o := observerOf(pool)
	if o == nil {
		return nil
	}
	held, hijacked := o.held()
	return describe(held, hijacked, maxLoggedSQL)
}

// describe masks the statements that [observer.held] returns and cuts them to maxSQL bytes.
func describe(held []Holder, hijacked, maxSQL int) []Holder {
	for i := range held {
		held[i].SQL = mask.SQL(held[i].SQL, maxSQL)
		held[i].MayBeHijacked = hijacked > 0
	}
	return held
}
