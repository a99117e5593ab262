// Package mask hides what statements must not show.
package mask

import "strings"

// CutMark ends a statement that was cut.
const CutMark = " …"

const literalMark = "'…'"

// SQL returns the beginning of a statement as it may be shown. Literals become '…': they hold
// passwords in CREATE ROLE and connection strings in CREATE SUBSCRIPTION, and values everywhere.
// What looks like a URL with a password is masked in comments and names too. It looks at no more
// than limit bytes.
//
// Where a literal ends can depend on the server's settings (a backslash before a quote). Then
// everything after it is masked.
func SQL(sql string, limit int) string {
	cut := len(sql) > limit
	if cut {
		sql = strings.ToValidUTF8(sql[:limit], "")
	}
	var text strings.Builder
	for len(sql) > 0 {
		i := strings.IndexAny(sql, `'"$-/`)
		if i < 0 {
			break
		}
		text.WriteString(sql[:i])
		token, literal := nextToken(sql[i:], i > 0 && isNameByte(sql[i-1]))
		switch {
		case literal, token[0] == '"' && followsPassword(text.String()): // a mistake, and still a secret
			text.WriteString(literalMark)
		default:
			text.WriteString(maskURLs(token))
		}
		sql = sql[i+len(token):]
	}
	text.WriteString(sql)
	if cut {
		text.WriteString(CutMark)
	}
	return text.String()
}

// nextToken returns what begins at a quote, dollar, minus or slash: a literal, a quoted name, a
// comment, or that character alone.
func nextToken(sql string, afterName bool) (token string, literal bool) {
	switch {
	case sql[0] == '\'':
		return quoted(sql, '\''), true
	case sql[0] == '"':
		return quoted(sql, '"'), false
	case sql[0] == '$' && !afterName:
		if tag := dollarTag(sql); tag != "" {
			return until(sql, tag, len(tag)), true
		}
	case strings.HasPrefix(sql, "--"):
		return until(sql, "\n", 2), false
	case strings.HasPrefix(sql, "/*"):
		return until(sql, "*/", 2), false // nested comments end early, and the rest is looked at as SQL
	}
	return sql[:1], false
}

func followsPassword(before string) bool {
	const word = "password"
	before = strings.TrimRight(before, " \t\n")
	return len(before) >= len(word) && strings.EqualFold(before[len(before)-len(word):], word)
}

// until returns sql up to the end of the first terminator at or after from, or all of it.
func until(sql, terminator string, from int) string {
	if i := strings.Index(sql[from:], terminator); i >= 0 {
		return sql[:from+i+len(terminator)]
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

// maskURLs hides what follows the slashes of each URL, up to the next space.
func maskURLs(text string) string {
	const slashes = "://"
	var masked strings.Builder
	for {
		start := strings.Index(text, slashes)
		if start < 0 {
			return masked.String() + text
		}
		masked.WriteString(text[:start+len(slashes)] + "…")
		if text = text[start:]; strings.ContainsAny(text, " \t\n") {
			text = text[strings.IndexAny(text, " \t\n"):]
		} else {
			return masked.String()
		}
	}
}
