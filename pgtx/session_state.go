package pgtx

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

// state says what was observed of a transaction. Only the functions in this file change it.
//
//	idle ──▶ begun ◀──▶ failed       undoing a savepoint leads back
//	  │        ├─────────┴──▶ lost   the connection is closed
//	  │        ├────────────▶ ended  by a statement of the function
//	  └▶ refused
type state int

const (
	stateIdle    state = iota // nothing was sent yet
	stateBegun                // the server's transaction is in order
	stateFailed               // the server's transaction can only be rolled back; see cause
	stateLost                 // the connection is closed and COMMIT was not sent; see cause
	stateEnded                // the function itself sent a COMMIT or ROLLBACK
	stateRefused              // the acquire or BEGIN failed, and nothing will be sent; see cause
)

// condition is the state of a session and what led to it.
type condition struct {
	state state
	// cause is the error that led to failed, lost or refused. It is nil if no handle of the session
	// met it: a statement on tx.Conn() failed, for instance.
	cause error
	// transient says that the cause goes away when the transaction runs again.
	transient bool
	// conflict is the last serialization failure or deadlock, even after its savepoint was undone.
	conflict error
	// doom is the failure of a nested function that cannot be undone alone. doomed is the innermost
	// savepoint around it, or the outermost function.
	doom   error
	doomed *tx
	// mayWrite says that a statement may have made a read-only transaction read-write.
	mayWrite bool
	// prepared has the texts of the statements that the function prepared, by name.
	prepared map[string]string
}

// begun records the server's answer to BEGIN.
func (c *condition) begun() { c.state, c.cause = stateBegun, nil }

// reset returns to the state before BEGIN: ROLLBACK has undone it, or a dead connection did not
// answer it.
func (c *condition) reset() { c.state, c.cause = stateIdle, nil }

// refuse records that the acquire or BEGIN failed.
func (c *condition) refuse(err error) {
	c.state, c.cause, c.transient = stateRefused, err, pgerr.Retryable(err)
}

// loseInUse records that the connection was closed because it was in use. An open statement is a
// mistake of the function, so the transaction is not repeated.
func (c *condition) loseInUse() {
	c.state, c.cause, c.transient, c.conflict = stateLost, ErrTxInUse, false, nil
}

// loseCommit records that a COMMIT that got no answer had no effect.
func (s *session) loseCommit(err error) {
	s.fail(stateLost, err)
	s.transient = true
}

// isOpen reports whether the server has a transaction, as far as is known.
func (c *condition) isOpen() bool { return c.state == stateBegun || c.state == stateFailed }

// fail moves to failed or lost. The first error since the transaction was in order is the cause;
// later ones are consequences.
func (s *session) fail(to state, err error) {
	s.state = to
	if s.cause != nil || err == nil {
		return
	}
	s.cause, s.transient = err, s.isTransient(err)
	if isConflict(err) {
		s.conflict = err
	}
}

// observe looks at the connection after a call that ended with err.
func (s *session) observe(err error) {
	if !s.isOpen() {
		return
	}
	switch status := s.conn.PgConn().TxStatus(); {
	case s.conn.IsClosed():
		s.fail(stateLost, err)
	case status == 'E':
		s.fail(stateFailed, err)
	case status == 'I':
		s.state, s.cause = stateEnded, nil
	default:
		s.state, s.cause = stateBegun, nil
	}
}

// observeStatement is observe for a statement of the function. It decides whether the text has
// ended the transaction. If not all answers were seen, a text that may have ended it counts as one
// that has, because whatever comes after it must not be repeated.
func (s *session) observeStatement(sql string, seen answers, err error) {
	if !s.isOpen() {
		return
	}
	if text, ok := s.prepared[sql]; ok {
		sql = text
	}
	s.observe(err)
	unseen := seen.partly && hasSeveral(sql) || s.state == stateLost
	if seen.end(sql) || unseen && mayEnd(sql) {
		s.endByFunction()
	}
	if s.opts.TxOptions.AccessMode == pgx.ReadOnly && (hasWord(sql, "write") || hasWord(sql, "transaction_read_only")) {
		s.mayWrite = true
	}
}

func (c *condition) addPrepared(name, sql string) {
	if c.prepared == nil {
		c.prepared = map[string]string{}
	}
	c.prepared[name] = sql
}

// endByFunction records that a statement of the function ended the transaction.
func (c *condition) endByFunction() {
	if c.isOpen() || c.state == stateLost {
		c.state, c.cause = stateEnded, nil
	}
}

// doomBy records that a nested function failed with err and cannot be undone without scope.
func (c *condition) doomBy(scope *tx, err error) {
	if c.doom == nil || c.doomed != scope && c.doomed.isInside(scope) {
		c.doom, c.doomed = err, scope
	}
}

// undone forgets a failure inside a savepoint that was undone.
func (c *condition) undone(savepoint *tx) {
	if c.doom != nil && c.doomed.isInside(savepoint) {
		c.doom, c.doomed = nil, nil
	}
}

// refusal returns the error of a statement on t that need not be sent, or nil.
func (c *condition) refusal(t *tx) error {
	switch {
	case c.doom != nil && t.isInside(c.doomed):
		return c.doom
	case c.state == stateRefused:
		return c.cause
	case c.state == stateEnded:
		return ErrEnded
	}
	return nil
}

// failure returns the error of a transaction whose function returned nil after a failed statement.
func (c *condition) failure() error {
	if c.cause == nil {
		return &SwallowedError{First: pgx.ErrTxCommitRollback}
	}
	return &SwallowedError{First: c.cause}
}

// loss returns the error that showed the loss of the connection.
func (c *condition) loss() error {
	if c.cause == nil {
		return pgconn.ErrConnClosed
	}
	return c.cause
}

// isConflict reports whether err is a serialization failure or a deadlock.
func isConflict(err error) bool { return hasCode(err, "40001", "40P01") }

// isStalePlan reports whether a migration or DISCARD ALL has made a prepared or described statement
// useless. pgx prepares it again the next time.
func isStalePlan(err error) bool { return isChangedPlan(err) || hasCode(err, "26000") }

// isChangedPlan reports whether a migration has changed what a prepared or described statement
// returns. All connections may have such a statement.
func isChangedPlan(err error) bool {
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) {
		return false
	}
	return pgError.Code == "0A000" && pgError.Routine == "RevalidateCachedQuery" ||
		pgError.Code == "08P01" && pgError.Routine == "PortalSetResultFormat" // in the modes that describe
}

// worthRepeating reports whether the transaction may run again after an attempt that was rolled
// back and ended with err. What the session observed decides. The text or type of err does not,
// because it may come from another transaction or hide what happened.
func (s *session) worthRepeating(err error) bool {
	switch {
	case s.state == stateEnded, isFinal(err):
		return false
	case s.isOverdue(err), s.cause != nil && s.transient:
		return true
	case s.cause == nil && (s.state == stateFailed || s.state == stateLost):
		return pgerr.Retryable(err) || isStalePlan(err) // a statement on tx.Conn() failed
	case s.conflict == nil:
		return false
	}
	return errors.Is(err, s.conflict) || errors.Is(s.doom, s.conflict)
}

// isTransient reports whether an error of the session's own transaction goes away when that runs
// again. The last kind is a write that the server refused as read-only (25006). It is a standby
// that is not promoted yet, or a primary that was demoted, so the next attempt may find the
// primary; unless the transaction or session is read-only by choice, or is not on a standby.
func (s *session) isTransient(err error) bool {
	if pgerr.Retryable(err) || isStalePlan(err) {
		return true
	}
	return hasCode(err, "25006") && s.opts.TxOptions.AccessMode != pgx.ReadOnly &&
		s.conn.PgConn().ParameterStatus("default_transaction_read_only") != "on" &&
		s.conn.PgConn().ParameterStatus("in_hot_standby") != "off"
}

// isFinal reports whether err is the error of a transaction inside the function that must not run
// again: it committed, may have, or has had its attempts.
func isFinal(err error) bool {
	return errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*RetryError)) ||
		errors.As(err, new(*HookError))
}

// The connection's transaction status does not tell whether the function ended the transaction.
// After COMMIT AND CHAIN and after "commit; begin" it is in a transaction as before, ROLLBACK AND
// CHAIN has the same tag as ROLLBACK TO, and a lost connection tells nothing. So the functions in
// this file look at the tags of the answers, and at words of the text where there are no answers.

// answers says which statements that begin or end a transaction the server has answered.
type answers struct {
	began, committed, rolledBack bool
	partly                       bool // if there were several statements, not all answers were seen
}

func (a *answers) add(tag pgconn.CommandTag) {
	switch tag.String() {
	case "BEGIN", "START TRANSACTION":
		a.began = true
	case "COMMIT", "PREPARE TRANSACTION":
		a.committed = true
	case "ROLLBACK":
		a.rolledBack = true
	}
}

// end reports whether the statements of sql ended the transaction, even if another is open. The
// answer to ROLLBACK TO is also ROLLBACK, but nothing begins with it, and it has no AND CHAIN.
func (a answers) end(sql string) bool {
	return a.committed || a.rolledBack && (a.began || hasWord(sql, "chain"))
}

// mayEnd reports whether a text may commit something. It looks for words and does not parse, so it
// is also true for some texts that commit nothing.
func mayEnd(sql string) bool {
	return hasWord(sql, "commit") || countWord(sql, "end") > countWord(sql, "case") ||
		hasWord(sql, "prepare") && hasWord(sql, "transaction") ||
		hasSeveral(sql) && (hasWord(sql, "rollback") || hasWord(sql, "abort"))
}

// hasSeveral reports whether a text may be several statements.
func hasSeveral(sql string) bool { return strings.Contains(strings.TrimRight(sql, "; \t\r\n"), ";") }

func hasWord(sql, word string) bool { return countWord(sql, word) > 0 }

// countWord counts a word in any case, even in a comment or a literal.
func countWord(sql, word string) (n int) {
	for i := 0; i+len(word) <= len(sql); i++ {
		if sql[i]|0x20 != word[0] || i > 0 && isLetter(sql[i-1]) || !strings.EqualFold(sql[i:i+len(word)], word) {
			continue
		}
		if end := i + len(word); end == len(sql) || !isLetter(sql[end]) {
			n++
		}
	}
	return n
}

func isLetter(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
}
