package pgpool

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/page-builder/persistence/pgpool/internal/dial"
)

// ServerLimits are limits that the server keeps. Reaching one costs the statement or the
// transaction, while a limit of the client's, a context's deadline, costs the connection. 0
// switches one off, whatever the role's own setting is. They are rounded up to the millisecond.
type ServerLimits struct {
	Statement         time.Duration // statement_timeout
	Lock              time.Duration // lock_timeout
	IdleInTransaction time.Duration // idle_in_transaction_session_timeout
}

// DefaultServerLimits are those of [ConnectConfig]: long for a page and short for a statement that
// has gone wrong.
var DefaultServerLimits = ServerLimits{
	Statement: 30 * time.Second, Lock: 10 * time.Second, IdleInTransaction: time.Minute,
}

func (l ServerLimits) values() [3]time.Duration {
	return [3]time.Duration{l.Statement, l.Lock, l.IdleInTransaction}
}

// applyLimits sends the limits when a connection starts. overwrite replaces the limits that the
// configuration has.
func applyLimits(limits [3]time.Duration, cfg *pgx.ConnConfig, overwrite bool) {
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	for i, limit := range limits {
		name := dial.Limits[i]
		if setsLimit(cfg, name) && !overwrite {
			continue
		}
		cfg.RuntimeParams[name] = strconv.FormatInt(int64((max(limit, 0)+time.Millisecond-1)/time.Millisecond), 10)
	}
}

func setsLimit(cfg *pgx.ConnConfig, name string) bool {
	_, ok := cfg.RuntimeParams[name]
	return ok || strings.Contains(cfg.RuntimeParams["options"], name)
}

// yieldToRole stops sending limits for which the role or the database has a stricter one. A startup
// parameter overrules both, so a default would lift a limit that an operator set on the server. A
// limit that somebody set here wins, with a note.
func (s *startup) yieldToRole(ctx context.Context) {
	if s.settings.PgBouncer || s.refused {
		return
	}
	for i, name := range dial.Limits {
		sent, stricter := s.settings.Limits[i], s.role[i]
		if stricter <= 0 || sent > 0 && sent <= stricter || !setsLimit(s.cfg.ConnConfig, name) {
			continue
		}
		if !s.settings.LimitsDefault[i] {
			s.settings.Logger.InfoContext(ctx, "a limit of the configuration overrules a stricter one of the role",
				"setting", name, "configured", sent, "role", stricter)
			continue
		}
		delete(s.cfg.ConnConfig.RuntimeParams, name)
	}
}

// missingLimits returns the names of the limits that are off or longer on the server than asked
// for. A stricter limit of the role's is not missing.
func missingLimits(limits [3]time.Duration, server *dial.Server) (names []string) {
	for i, want := range limits {
		got := server.Limits[i]
		if want > 0 && (got == 0 || got > want.Round(time.Millisecond)+time.Millisecond) {
			names = append(names, dial.Limits[i])
		}
	}
	return names
}

// sentLimits returns the limits that cfg sends in milliseconds, which is how applyLimits writes
// them.
func sentLimits(cfg *pgx.ConnConfig) (limits [3]time.Duration) {
	for i, name := range dial.Limits {
		if ms, err := strconv.ParseInt(cfg.RuntimeParams[name], 10, 64); err == nil {
			limits[i] = time.Duration(ms) * time.Millisecond
		}
	}
	return limits
}
