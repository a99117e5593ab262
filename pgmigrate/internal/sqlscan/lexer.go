// Package sqlscan finds the statements of an SQL text where PostgreSQL finds them.
//
// It follows the server's lexer (src/backend/parser/scan.l) byte by byte. It knows only the three
// rules of the grammar that decide where a statement ends: parentheses, BEGIN ATOMIC … END, and
// the semicolon.
package sqlscan

import "strings"

// Kind tells the kinds of tokens apart.
type Kind int

// The kinds of tokens.
const (
	Other      Kind = iota // one byte: a part of an operator, a parenthesis, a semicolon
	Word                   // a keyword or an identifier without quotes
	Identifier             // an identifier in double quotes
	String                 // a string in single quotes, with all parts that continue it
	Dollar                 // a string in dollar quotes
	Number
	Comment
)

// Lexer splits SQL into tokens. The zero value with SQL set is ready to use.
type Lexer struct {
	SQL string
	// BackslashQuotes says that standard_conforming_strings is off: a backslash escapes in a
	// string without a prefix too.
	BackslashQuotes bool

	// Kind, Start and End describe the token that Next found.
	Kind       Kind
	Start, End int
	// Unclosed says that the quote or the comment has no end. The token then reaches to the end of
	// the text.
	Unclosed bool
}

// Text returns the token.
func (l *Lexer) Text() string { return l.SQL[l.Start:l.End] }

// Is reports whether the token is the single byte c.
func (l *Lexer) Is(c byte) bool { return l.Kind == Other && l.SQL[l.Start] == c }

// Next finds the next token. It returns false at the end of the text.
func (l *Lexer) Next() bool {
	i := l.End
	for i < len(l.SQL) && isSpace(l.SQL[i]) {
		i++
	}
	l.Start, l.Unclosed = i, false
	if i == len(l.SQL) {
		l.End = i
		return false
	}
	c := l.SQL[i]
	switch {
	case l.has(i, "--"):
		l.Kind, l.End = Comment, lineEnd(l.SQL, i)
	case l.has(i, "/*"):
		l.Kind = Comment
		l.End, l.Unclosed = blockCommentEnd(l.SQL, i)
	case c == '\'':
		l.string(i, l.BackslashQuotes)
	case c == '"':
		l.identifier(i)
	case (c == 'e' || c == 'E') && l.has(i+1, "'"):
		l.string(i+1, true)
	case (c == 'n' || c == 'N') && l.has(i+1, "'"):
		l.string(i+1, l.BackslashQuotes)
	case strings.IndexByte("bBxX", c) >= 0 && l.has(i+1, "'"):
		l.string(i+1, false)
	case (c == 'u' || c == 'U') && l.has(i+1, "&'"):
		l.string(i+2, false)
	case (c == 'u' || c == 'U') && l.has(i+1, `&"`):
		l.identifier(i + 2)
	case c == '$' && dollarTag(l.SQL[i:]) != "":
		l.Kind = Dollar
		tag := dollarTag(l.SQL[i:])
		l.End, l.Unclosed = len(l.SQL), true
		if at := strings.Index(l.SQL[i+len(tag):], tag); at >= 0 {
			l.End, l.Unclosed = i+at+2*len(tag), false
		}
	case isWordStart(c):
		l.Kind = Word
		for l.End = i + 1; l.End < len(l.SQL) && isWordPart(l.SQL[l.End]); l.End++ {
		}
	case isDigit(c):
		// Letters after a number belong to it, or are a syntax error.
		l.Kind = Number
		for l.End = i + 1; l.End < len(l.SQL) && isNumberPart(l.SQL[l.End]); l.End++ {
		}
	default:
		l.Kind, l.End = Other, i+1
	}
	return true
}

func (l *Lexer) has(at int, text string) bool {
	return at <= len(l.SQL) && strings.HasPrefix(l.SQL[at:], text)
}

// identifier finds the end of the identifier whose quote opens at i.
func (l *Lexer) identifier(i int) {
	l.Kind = Identifier
	l.End, l.Unclosed = quoteEnd(l.SQL, i, '"', false)
}

// string finds the end of the string whose quote opens at i. After a line break and another quote
// the string continues, by the rules of its first part.
func (l *Lexer) string(i int, backslash bool) {
	l.Kind = String
	for {
		l.End, l.Unclosed = quoteEnd(l.SQL, i, '\'', backslash)
		next, ok := continuation(l.SQL, l.End)
		if l.Unclosed || !ok {
			return
		}
		i = next
	}
}

// continuation returns where the quote opens that continues the string that ends at i.
func continuation(sql string, i int) (quote int, ok bool) {
	broken := false // a line break was passed
	for i < len(sql) {
		switch c := sql[i]; {
		case c == '\n' || c == '\r':
			broken = true
			i++
		case isSpace(c):
			i++
		case strings.HasPrefix(sql[i:], "--"):
			i = lineEnd(sql, i)
			if i == len(sql) {
				return 0, false
			}
		case c == '\'' && broken:
			return i, true
		default:
			return 0, false
		}
	}
	return 0, false
}

// quoteEnd returns the offset after the quote that closes the one at i.
func quoteEnd(sql string, i int, quote byte, backslash bool) (end int, unclosed bool) {
	for i++; i < len(sql); i++ {
		switch {
		case backslash && sql[i] == '\\':
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1, false
		}
	}
	return len(sql), true
}

// lineEnd returns the offset of the line break that ends the comment at i. A carriage return is one
// too, and a backslash is nothing special.
func lineEnd(sql string, i int) int {
	if at := strings.IndexAny(sql[i:], "\n\r"); at >= 0 {
		return i + at
	}
	return len(sql)
}

// blockCommentEnd returns the offset after the comment that opens at i. Such comments nest.
func blockCommentEnd(sql string, i int) (end int, unclosed bool) {
	depth := 0
	for i+1 < len(sql) {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
			if depth == 0 {
				return i, false
			}
		default:
			i++
		}
	}
	return len(sql), true
}

// dollarTag returns the delimiter, such as $$ or $body$, that s begins with, or "".
func dollarTag(s string) string {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$':
			return s[:i+1]
		case isWordStart(c), i > 1 && isDigit(c):
		default:
			return ""
		}
	}
	return ""
}

// isSpace knows ASCII only, as the server does: a no-break space is a letter.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isWordPart(c byte) bool { return isWordStart(c) || isDigit(c) || c == '$' }

func isNumberPart(c byte) bool { return isWordStart(c) || isDigit(c) || c == '.' }
