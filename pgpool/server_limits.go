package pgpool

import (
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

// DefaultServerLimits are the defaults of [ConnectConfig]: long for a page, short for a runaway
// statement.
var DefaultServerLimits = ServerLimits{
	Statement: 30 * time.Second, Lock: 10 * time.Second, IdleInTransaction: time.Minute,
}

func (l ServerLimits) values() [3]time.Duration {
	return [3]time.Duration{l.Statement, l.Lock, l.IdleInTransaction}
}

// applyLimits sends the limits when a connection starts: an option's, else the configuration's,
// else the defaults. It sends none to PgBouncer, which refuses them.
func (s *startup) applyLimits() {
	s.limits = s.settings.Limits
	if s.settings.PgBouncer {
		return
	}
	cfg := s.cfg.ConnConfig
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = map[string]string{}
	}
	for i, name := range dial.Limits {
		if setsLimit(cfg, name) && !s.settings.LimitsChosen {
			ms, _ := strconv.ParseInt(cfg.RuntimeParams[name], 10, 64) // 0 if it has a unit
			s.limits[i] = time.Duration(ms) * time.Millisecond
			continue
		}
		ms := (max(s.limits[i], 0) + time.Millisecond - 1) / time.Millisecond
		s.limits[i], s.yields[i] = ms*time.Millisecond, !s.settings.LimitsChosen
		cfg.RuntimeParams[name] = strconv.FormatInt(int64(ms), 10)
	}
}

func setsLimit(cfg *pgx.ConnConfig, name string) bool {
	_, ok := cfg.RuntimeParams[name]
	return ok || strings.Contains(cfg.RuntimeParams["options"], name)
}

// yieldToServer stops sending limits for which the server has a stricter one: in its configuration,
// for the role or for the database. A startup parameter overrules them all, so a default would lift
// a limit that an operator set. A limit that was set here wins, with a note.
func (s *startup) yieldToServer() {
	own, err := s.ownLimits()
	if err != nil {
		s.settings.Logger.WarnContext(s.ctx, "cannot ask for the server's own limits, so the defaults overrule them",
			"error", dial.OneLine.Replace(err.Error()))
		return
	}
	for i, name := range dial.Limits {
		sent, stricter := s.limits[i], own[i]
		if stricter <= 0 || sent > 0 && sent <= stricter || !setsLimit(s.cfg.ConnConfig, name) {
			continue
		}
		if !s.yields[i] {
			s.settings.Logger.InfoContext(s.ctx, "a limit of the configuration overrules a stricter one of the server",
				"setting", name, "configured", sent, "server", stricter)
			continue
		}
		delete(s.cfg.ConnConfig.RuntimeParams, name)
	}
}

// ownLimits returns the limits of a session that sends none. 0 means no limit. It does not ask
// PgBouncer, which decides what to pass on, nor a server that hid its limits from the first
// connection.
func (s *startup) ownLimits() (limits [3]time.Duration, err error) {
	connConfig := s.cfg.ConnConfig.Copy()
	for _, name := range dial.Limits {
		delete(connConfig.RuntimeParams, name)
	}
	if s.settings.PgBouncer || s.refused || s.server.Pooled || !s.server.Verified ||
		len(connConfig.RuntimeParams) == len(s.cfg.ConnConfig.RuntimeParams) {
		return limits, nil
	}
	ctx, cancel := dial.Budget(s.ctx, connConfig)
	defer cancel()
	conn, err := s.connect(ctx, connConfig)
	if err != nil {
		return limits, err
	}
	defer dial.Close(ctx, conn)
	server, err := dial.Ask(ctx, conn)
	if err != nil {
		return limits, err
	}
	return server.Limits, nil
}

// missingLimits returns the names of the limits that are off or longer on the server than asked
// for. A stricter limit of the role's is not missing.
func (s *startup) missingLimits() (names []string) {
	for i, want := range s.limits {
		if got := s.server.Limits[i]; want > 0 && (got == 0 || got > want) {
			names = append(names, dial.Limits[i])
		}
	}
	return names
}
