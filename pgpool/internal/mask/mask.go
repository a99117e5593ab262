// Package mask hides what statements must not show.
package mask

import (
	"slices"
	"strings"
)

// CutMark ends a statement that was cut.
const CutMark = " …"

const (
	literalMark = "'…'"
	commentMark = "/* … */"
)

// SQL returns the beginning of a statement in a form that is safe to show. String literals become
// '…': they contain passwords in CREATE ROLE, connection strings in CREATE SUBSCRIPTION, and values
// everywhere. So does an unquoted secret in a utility statement. The server refuses most of these
// mistakes, but the text still contains the secret. Comments and names are masked if they mention a
// secret or a URL. SQL looks at no more than limit bytes.
//
// Where a literal ends can depend on the server's settings (a backslash before a quote). Then
// everything after it is masked.
func SQL(sql string, limit int) string {
	cut := len(sql) > limit
	if cut {
		sql = strings.ToValidUTF8(sql[:limit], "")
	}
	var text strings.Builder
	var s scanner
	for len(sql) > 0 {
		token, kind := nextToken(sql)
		sql = sql[len(token):]
		text.WriteString(s.mask(token, kind))
	}
	if cut {
		text.WriteString(CutMark)
	}
	return text.String()
}

// scanner knows what came before a token.
type scanner struct {
	utility bool // the statement is ALTER, CREATE or SET, which take secrets
	begun   bool // a word of the statement has come
	secret  bool // the next word or name stands for a secret
}

func (s *scanner) mask(token string, kind kind) string {
	switch kind {
	case comment:
		if strings.Contains(token, "://") || mentionsSecret(token) {
			return commentMark
		}
		return token
	case space:
		return token
	case literal:
		s.secret = false
		return literalMark
	case name, word:
		if s.secret && !slices.Contains(between, strings.ToLower(token)) {
			s.secret = false
			return literalMark
		}
		if !s.begun {
			s.begun, s.utility = true, slices.Contains(utilities, strings.ToLower(token))
		}
		s.secret = s.secret || s.utility && (mentionsSecret(token) || strings.EqualFold(token, "connection"))
		if kind == name && strings.Contains(token, "://") {
			return literalMark
		}
		return token
	}
	switch token {
	case ";":
		*s = scanner{}
	case "=", ".": // set app.secret = …
	default:
		s.secret = false
	}
	return token
}

var (
	utilities = []string{"alter", "create", "set"}
	between   = []string{"to", "e"} // what may stand before a secret, as in E'…'
	secrets   = []string{"password", "passwd", "secret", "token"}
)

func mentionsSecret(text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) })
}

type kind int

const (
	other kind = iota // one character
	space
	word
	name    // in double quotes
	literal // in single quotes or dollars
	comment
)

const spaces = " \t\n\v\f\r"

// nextToken returns what sql begins with.
func nextToken(sql string) (token string, kind kind) {
	switch {
	case strings.IndexByte(spaces, sql[0]) >= 0:
		return sql[:len(sql)-len(strings.TrimLeft(sql, spaces))], space
	case isNameByte(sql[0]):
		end := 1
		for end < len(sql) && (isNameByte(sql[end]) || sql[end] == '$') {
			end++
		}
		return sql[:end], word
	case sql[0] == '\'':
		return quoted(sql, '\''), literal
	case sql[0] == '"':
		return quoted(sql, '"'), name
	case sql[0] == '$':
		if tag := dollarTag(sql); tag != "" {
			if end := strings.Index(sql[len(tag):], tag); end >= 0 {
				return sql[:2*len(tag)+end], literal
			}
			return sql, literal
		}
	case strings.HasPrefix(sql, "--"):
		if end := strings.IndexAny(sql, "\r\n"); end >= 0 {
			return sql[:end], comment
		}
		return sql, comment
	case strings.HasPrefix(sql, "/*"):
		return blockComment(sql), comment
	}
	return sql[:1], other
}

// blockComment returns sql up to the end of its comment. Comments nest.
func blockComment(sql string) string {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return sql[:i+1]
			}
		}
	}
	return sql
}

// quoted returns sql up to its closing quote. A doubled quote does not close.
func quoted(sql string, quote byte) string {
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && quote == '\'' && i+1 < len(sql) && sql[i+1] == quote:
			return sql // the setting standard_conforming_strings decides
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return sql[:i+1]
		}
	}
	return sql
}

// dollarTag returns the tag that opens a dollar-quoted literal, or "". $1 is an argument.
func dollarTag(sql string) string {
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] == '$':
			return sql[:i+1]
		case !isNameByte(sql[i]), i == 1 && sql[i] >= '0' && sql[i] <= '9':
			return ""
		}
	}
	return ""
}

func isNameByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}
