package pgtx

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/page-builder/persistence/pgerr"
)

// state says what was observed of a transaction. Only the functions in this file change it, and
// only the holder of the gate calls them.
//
//	idle ──▶ begun ◀──▶ failed       a savepoint that is undone leads back
//	  │        ├─────────┴──▶ lost   the connection is closed
//	  │        ├────────────▶ ended  by a statement of the function
//	  └▶ refused       begun ─▶ closed  by COMMIT
type state int

const (
	stateIdle    state = iota // nothing was sent yet
	stateBegun                // the server's transaction is in order
	stateFailed               // the server's transaction can only be rolled back; see cause
	stateLost                 // the connection is closed and COMMIT was not sent; see cause
	stateEnded                // the function sent a COMMIT or ROLLBACK of its own
	stateRefused              // the acquire or BEGIN failed, and nothing will be sent; see cause
	stateClosed               // COMMIT was answered, or nothing had to be sent
)

// condition is the state of a session and what led to it.
type condition struct {
	state state
	// cause is the error that led to failed, lost or refused. It is nil if it did not pass through
	// a handle of the session, but through tx.Conn() for instance.
	cause error
	// conflict is the last serialization failure or deadlock, also after its savepoint was undone.
	conflict error
	// doom is the failure of a nested function that cannot be undone on its own, and doomed the
	// handle of the innermost savepoint around it, or of the outermost function.
	doom   error
	doomed *tx
	// mayWrite says that a statement may have made a read-only transaction read-write.
	mayWrite bool
}

// begun records the server's answer to BEGIN.
func (c *condition) begun() { c.state, c.cause = stateBegun, nil }

// reset returns to the state before BEGIN, which a ROLLBACK has undone or a dead connection never
// answered.
func (c *condition) reset() { c.state, c.cause = stateIdle, nil }

// refuse records that the acquire or BEGIN failed.
func (c *condition) refuse(err error) { c.state, c.cause = stateRefused, err }

// close records that COMMIT was answered, or that nothing had to be sent.
func (c *condition) close() { c.state = stateClosed }

// isOpen reports whether the server has a transaction, as far as is known.
func (c *condition) isOpen() bool { return c.state == stateBegun || c.state == stateFailed }

// fail moves to failed or lost. The first error since the transaction was in order is the cause;
// the ones after it are consequences.
func (c *condition) fail(to state, err error) {
	c.state = to
	if c.cause != nil || err == nil {
		return
	}
	c.cause = err
	if isConflict(err) {
		c.conflict = err
	}
}

// observe looks at the connection after a call that ended with err.
func (s *session) observe(err error) {
	switch {
	case !s.isOpen():
	case s.conn == nil: // a pgx.Tx of another package that shows no connection
		if errors.As(err, new(*pgconn.PgError)) {
			s.fail(stateBegun, err)
		}
	case s.conn.IsClosed():
		s.fail(stateLost, err)
	case s.conn.PgConn().TxStatus() == 'E':
		s.fail(stateFailed, err)
	case s.conn.PgConn().TxStatus() == 'I':
		s.state, s.cause = stateEnded, nil
	default:
		s.state, s.cause = stateBegun, nil
	}
}

// observeStatement is observe for a statement of the function. This is the one place that decides
// whether a text has ended the transaction. Where not all answers were seen, a text that may have
// ended it counts as one that has: what comes after it must not be repeated.
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
	s.noteWrite(sql)
}

// noteWrite looks whether a statement may make a read-only transaction read-write.
func (s *session) noteWrite(sql string) {
	s.mayWrite = s.mayWrite || s.opts.TxOptions.AccessMode == pgx.ReadOnly &&
		(hasWord(sql, "write") || hasWord(sql, "transaction_read_only"))
}

// endByFunction records that a statement of the function ended the transaction.
func (c *condition) endByFunction() {
	if c.isOpen() || c.state == stateLost {
		c.state, c.cause = stateEnded, nil
	}
}

// doomBy records that a nested function failed with err and cannot be undone without the savepoint
// of scope.
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

// refusal is the error of a statement on t that need not be sent, or nil.
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

// failure is the error of a transaction whose function returned nil after a statement had failed.
func (c *condition) failure() error {
	if c.cause == nil {
		return &SwallowedError{First: pgx.ErrTxCommitRollback}
	}
	return &SwallowedError{First: c.cause}
}

// loss is the error in which the loss of the connection showed.
func (c *condition) loss() error {
	if c.cause == nil {
		return pgconn.ErrConnClosed
	}
	return c.cause
}

// answers counts the answers of the server to the statements of a text that begin or end a
// transaction.
type answers struct {
	begins, commits, rollbacks int
	partly                     bool // if there were several statements, not all answers were seen
}

func (a *answers) add(tag pgconn.CommandTag) {
	switch tag.String() {
	case "BEGIN", "START TRANSACTION":
		a.begins++
	case "COMMIT", "PREPARE TRANSACTION":
		a.commits++
	case "ROLLBACK":
		a.rollbacks++
	}
}

func tagged(tag pgconn.CommandTag) (a answers) {
	a.add(tag)
	return a
}

// end reports whether the statements of sql ended the transaction, other than by leaving none.
// ROLLBACK TO is answered like ROLLBACK, but nothing begins with it, and it has no AND CHAIN.
func (a answers) end(sql string) bool {
	return a.commits > 0 || a.rollbacks > 0 && (a.begins > 0 || hasWord(sql, "chain"))
}

// mayEnd reports whether a text may commit something. It looks for words and does not parse, so it
// is also true for some texts that do not.
func mayEnd(sql string) bool {
	return hasWord(sql, "commit") || countWord(sql, "end") > countWord(sql, "case") ||
		hasWord(sql, "prepare") && hasWord(sql, "transaction") ||
		hasSeveral(sql) && (hasWord(sql, "rollback") || hasWord(sql, "abort"))
}

// hasSeveral reports whether a text may be several statements.
func hasSeveral(sql string) bool { return strings.Contains(strings.TrimRight(sql, "; \t\r\n"), ";") }

func hasWord(sql, word string) bool { return countWord(sql, word) > 0 }

// countWord counts a word in lower case, wherever it is: in a comment or a literal, too.
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

// isConflict reports whether err is a serialization failure or a deadlock.
func isConflict(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && (pgError.Code == "40001" || pgError.Code == "40P01")
}

// isStalePlan reports whether err is that of a prepared or described statement that a migration or
// DISCARD ALL has made useless. pgx prepares it again the next time.
func isStalePlan(err error) bool {
	var pgError *pgconn.PgError
	if !errors.As(err, &pgError) {
		return false
	}
	switch pgError.Code {
	case "26000":
		return true
	case "0A000":
		return pgError.Routine == "RevalidateCachedQuery"
	case "08P01": // in the modes that describe
		return pgError.Routine == "PortalSetResultFormat"
	}
	return false
}

// worthRepeating reports whether the transaction may run again after an attempt that was rolled
// back and ended with err. What the session observed decides, not the text or type of err, which
// may come from another transaction or hide what happened.
func (s *session) worthRepeating(err error) bool {
	switch {
	case s.state == stateEnded, s.inUse, isFinal(err):
		return false // a connection that was in use was closed by this package
	case s.repeatable, s.isOverdue(err):
		return true
	case s.cause != nil && s.isTransient(s.cause):
		return true
	case s.cause == nil && (s.state == stateFailed || s.state == stateLost):
		return s.isTransient(err) // of a statement on tx.Conn()
	case s.conflict == nil:
		return false
	}
	return errors.Is(err, s.conflict) || errors.Is(s.doom, s.conflict)
}

// isTransient reports whether a failure of the session's own transaction goes away when it runs
// again.
func (s *session) isTransient(err error) bool {
	return pgerr.Retryable(err) || isStalePlan(err) || s.isDemoted(err)
}

// isDemoted reports whether the server refused a write as read-only (25006) in a transaction that
// was not meant to be: it is a standby that a failover has not promoted yet, or a primary that was
// demoted, and the next attempt may find the primary. A server that reports that it is no standby
// was told to be read-only.
func (s *session) isDemoted(err error) bool {
	var pgError *pgconn.PgError
	return errors.As(err, &pgError) && pgError.Code == "25006" &&
		s.opts.TxOptions.AccessMode != pgx.ReadOnly && !s.readsOnly && !s.isPrimary
}

// isFinal reports whether err is that of a transaction inside the function that must not run again:
// it committed, may have, or has had its attempts.
func isFinal(err error) bool {
	return errors.As(err, new(*CommitUnknownError)) || errors.As(err, new(*RetryError)) ||
		errors.As(err, new(*HookError))
}
