package pgpool

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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
var DefaultServerLimits = ServerLimits{Statement: 30 * time.Second, Lock: 10 * time.Second, IdleInTransaction: time.Minute}

// settingNames are the server's names, in the order of ServerLimits.values.
var settingNames = [3]string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}

func (l ServerLimits) values() [3]time.Duration {
	return [3]time.Duration{l.Statement, l.Lock, l.IdleInTransaction}
}

// apply sends the limits when a connection starts. overwrite replaces those that the configuration
// has.
func (l ServerLimits) apply(cfg *pgx.ConnConfig, overwrite bool) {
	for i, limit := range l.values() {
		name := settingNames[i]
		if _, ok := cfg.RuntimeParams[name]; (ok || strings.Contains(cfg.RuntimeParams["options"], name)) && !overwrite {
			continue
		}
		cfg.RuntimeParams[name] = strconv.FormatInt(int64((max(limit, 0)+time.Millisecond-1)/time.Millisecond), 10)
	}
}

// missing returns the settings that are not in effect: those that were asked for and are off or
// longer on the server. A role's stricter limit is somebody's decision.
func (l ServerLimits) missing(server *serverState) (names []string) {
	for i, want := range l.values() {
		got := server.limits[i]
		if want > 0 && (got == 0 || got > want.Round(time.Millisecond)+time.Millisecond) {
			names = append(names, settingNames[i])
		}
	}
	return names
}

// sent returns the limits that cfg sends, as far as they are written in milliseconds.
func sent(cfg *pgx.ConnConfig) ServerLimits {
	var values [3]time.Duration
	for i, name := range settingNames {
		if ms, err := strconv.ParseInt(cfg.RuntimeParams[name], 10, 64); err == nil {
			values[i] = time.Duration(ms) * time.Millisecond
		}
	}
	return ServerLimits{Statement: values[0], Lock: values[1], IdleInTransaction: values[2]}
}

// serverState is what the server says about itself and about the session.
type serverState struct {
	pooled   bool // another backend than the one that the login named: PgBouncer or its like is in between
	standby  bool
	version  string
	limits   [3]time.Duration // as settingNames, 0: off
	verified bool             // false if the server would not say
}

const serverStateSQL = `select pg_backend_pid(), pg_is_in_recovery(), current_setting('server_version'),
	(select setting from pg_settings where name = 'statement_timeout'),
	(select setting from pg_settings where name = 'lock_timeout'),
	(select setting from pg_settings where name = 'idle_in_transaction_session_timeout')`

// readServerState asks in one round trip, and as a simple query, which needs no prepared statement:
// PgBouncer may be in between.
func readServerState(ctx context.Context, conn *pgx.Conn) (*serverState, error) {
	results, err := conn.PgConn().Exec(ctx, serverStateSQL).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 6 {
		return &serverState{}, nil
	}
	row := results[0].Rows[0]
	state := &serverState{standby: string(row[1]) == "t", version: string(row[2]), verified: true}
	pid, err := strconv.ParseUint(string(row[0]), 10, 32)
	state.pooled = err == nil && uint32(pid) != conn.PgConn().PID()
	for i := range state.limits {
		ms, err := strconv.ParseInt(string(row[3+i]), 10, 64)
		state.limits[i], state.verified = time.Duration(ms)*time.Millisecond, state.verified && err == nil
	}
	return state, nil
}
