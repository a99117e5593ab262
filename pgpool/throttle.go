package pgpool

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/page-builder/persistence/pgerr"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

const (
	// throttleInterval is the time between two lines of the same kind.
	throttleInterval = time.Second
	// maxKinds bounds the memory for kinds: a program that writes values into its SQL has as many
	// as it has statements.
	maxKinds = 1000
	// maxKindSQL is how much of a statement distinguishes it from others.
	maxKindSQL = 200 // bytes
)

// kind identifies log lines that say the same.
type kind struct{ message, code, sql string }

// throttle logs one line a second for each kind. In an outage every caller fails in the same way.
type throttle struct {
	logger *slog.Logger

	mu    sync.Mutex
	kinds map[kind]counted
}

type counted struct {
	logged time.Time
	quiet  int // lines that were not logged since
}

// log logs a line, unless one of its kind was logged within the last second. attrs is called only
// for a line that is logged.
func (t *throttle) log(ctx context.Context, level slog.Level, k kind, attrs func() []slog.Attr) {
	if !t.logger.Enabled(ctx, level) {
		return
	}
	if len(k.sql) > maxKindSQL {
		k.sql = k.sql[:maxKindSQL]
	}
	quiet, ok := t.take(k, time.Now())
	if !ok {
		return
	}
	all := attrs()
	if quiet > 0 {
		all = append(all, slog.Int("not_logged", quiet))
	}
	t.logger.LogAttrs(ctx, level, k.message, all...)
}

// take reports whether a line may be logged, and how many of its kind were not since the last one.
func (t *throttle) take(k kind, now time.Time) (quiet int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.kinds[k]
	if !known && len(t.kinds) >= maxKinds {
		maps.DeleteFunc(t.kinds, func(_ kind, c counted) bool { return now.Sub(c.logged) >= throttleInterval })
		if len(t.kinds) >= maxKinds {
			k.sql = "" // the rest share one kind for each message and code
			c = t.kinds[k]
		}
	}
	if ok = now.Sub(c.logged) >= throttleInterval; ok {
		quiet, c = c.quiet, counted{logged: now}
	} else {
		c.quiet++
	}
	if t.kinds == nil {
		t.kinds = map[kind]counted{}
	}
	t.kinds[k] = c
	return quiet, ok
}

// failure logs what failed without a statement.
func (t *throttle) failure(
	ctx context.Context, message string, category pgerr.Category, err error, hint string,
) {
	t.log(ctx, slog.LevelWarn, kind{message: message, code: string(category)}, func() []slog.Attr {
		attrs := dial.ErrorAttrs(err)
		if hint != "" {
			attrs = append(attrs, slog.String("hint", hint))
		}
		return attrs
	})
}
