package pgotel

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// textOf returns the text of a query for its span. Values belong in arguments: the literals of a
// query that has none are replaced, as the conventions want it.
func textOf(text string, args []any) string {
	for _, arg := range args {
		switch arg := arg.(type) {
		case pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
		case *rewriter:
			if arg.inner != nil {
				return text
			}
		default:
			return text
		}
	}
	return withoutLiterals(text)
}

// withoutLiterals replaces the strings and numbers of a statement by question marks. Names and
// comments stay.
func withoutLiterals(text string) string {
	var b strings.Builder
	for text != "" {
		var n int // the length of the token that text begins with
		literal := false
		switch c := text[0]; {
		case strings.HasPrefix(text, "--"):
			n = endOf(text, 2, "\n")
		case strings.HasPrefix(text, "/*"):
			n = endOfComment(text)
		case c == '"':
			n = endOf(text, 1, `"`)
		case c == '\'':
			n, literal = endOf(text, 1, "'"), true
		case c == '$':
			if delimiter := dollarQuote(text); delimiter != "" {
				n, literal = endOf(text, len(delimiter), delimiter), true
			} else {
				n = 1
			}
		case isDigit(c), c == '.' && len(text) > 1 && isDigit(text[1]):
			for n = 1; n < len(text) && (isWord(text[n]) || text[n] == '.'); n++ {
			}
			literal = true
		case isWord(c):
			for n = 1; n < len(text) && (isWord(text[n]) || text[n] == '$'); n++ {
			}
			if quoted := n < len(text) && text[n] == '\''; quoted && (text[:n] == "e" || text[:n] == "E") {
				n, literal = endOfEscaped(text, n+1), true
			}
		default:
			n = 1
		}
		if literal {
			b.WriteByte('?')
		} else {
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// endOf returns the index in text, from an offset, after an end. Text without it is one token.
func endOf(text string, from int, end string) int {
	if at := strings.Index(text[from:], end); at >= 0 {
		return from + at + len(end)
	}
	return len(text)
}

// endOfEscaped is endOf for a string in which a backslash escapes a quotation mark.
func endOfEscaped(text string, from int) int {
	for ; from < len(text); from++ {
		switch text[from] {
		case '\\':
			from++
		case '\'':
			return from + 1
		}
	}
	return len(text)
}

// endOfComment is endOf for a comment, which may hold others.
func endOfComment(text string) int {
	depth := 1
	for at := 2; at < len(text); at++ {
		switch {
		case strings.HasPrefix(text[at:], "/*"):
			depth++
			at++
		case strings.HasPrefix(text[at:], "*/"):
			depth--
			at++
			if depth == 0 {
				return at + 1
			}
		}
	}
	return len(text)
}

// dollarQuote returns the delimiter of the string that text begins with: $$ or $name$. A parameter
// has none.
func dollarQuote(text string) string {
	for n := 1; n < len(text); n++ {
		switch c := text[n]; {
		case c == '$':
			return text[:n+1]
		case !isWord(c), n == 1 && isDigit(c):
			return ""
		}
	}
	return ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
