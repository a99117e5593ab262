package pgtx

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

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
