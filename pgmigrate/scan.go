package pgmigrate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// statementText is a statement as PostgreSQL sees it.
type statementText struct {
	offset int      // of its first token
	end    int      // behind its last token, the semicolon not included
	words  []string // its first words, in lower case
	atomic bool     // it has a body of statements: BEGIN ATOMIC … END
}

// Statements returns the statements of sql in order, each from its first token to its last, without
// its semicolon and without the comments around it. It knows quotes, comments and bodies of SQL
// functions as psql does, and nothing of grammar: it does not fail.
func Statements(sql string) []string {
	found := split(sql)
	list := make([]string, len(found))
	for i, s := range found {
		list[i] = sql[s.offset:s.end]
	}
	return list
}

// split finds the statements of sql as psql does: semicolons in quotes, comments and bodies of SQL
// functions do not end one.
func split(sql string) []statementText {
	var statements []statementText
	var current statementText
	depth := 0       // of BEGIN ATOMIC and CASE inside it
	parentheses := 0 // CREATE RULE … DO (…; …)
	begun := false
	previous := ""
	end := func() {
		if begun {
			statements = append(statements, current)
		}
		current, depth, parentheses, begun, previous = statementText{}, 0, 0, false, ""
	}
	for t := (lexer{src: sql}); t.next(); {
		if t.kind == tokenComment {
			continue
		}
		if t.kind == tokenOther && t.text() == ";" {
			if depth == 0 && parentheses <= 0 {
				end()
			}
			continue
		}
		if !begun {
			begun, current.offset = true, t.start
		}
		current.end = t.pos
		switch {
		case t.kind == tokenOther && t.text() == "(":
			parentheses++
		case t.kind == tokenOther && t.text() == ")":
			parentheses--
		}
		if t.kind != tokenWord {
			previous = ""
			continue
		}
		word := strings.ToLower(t.text())
		if len(current.words) < 8 {
			current.words = append(current.words, word)
		}
		switch {
		case word == "atomic" && previous == "begin" && current.words[0] == "create":
			current.atomic = true
			depth++
		case word == "case" && depth > 0:
			depth++
		case word == "end" && depth > 0:
			depth--
		}
		previous = word
	}
	end()
	return statements
}

// endsTransaction reports whether the statement begins or ends a transaction.
func (s statementText) endsTransaction() bool {
	if len(s.words) == 0 {
		return false
	}
	switch s.words[0] {
	case "begin", "commit", "end", "abort":
		return true
	case "start":
		return len(s.words) > 1 && s.words[1] == "transaction"
	case "prepare":
		return len(s.words) > 1 && s.words[1] == "transaction"
	case "rollback":
		// ROLLBACK [WORK | TRANSACTION] TO [SAVEPOINT] name
		for _, w := range s.words[1:] {
			if w == "to" {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// withoutComments replaces each comment with a space.
func withoutComments(sql string) string {
	var b strings.Builder
	for t := (lexer{src: sql}); t.next(); {
		if t.kind == tokenComment {
			b.WriteByte(' ')
		} else {
			b.WriteString(t.text())
		}
		b.WriteString(sql[t.pos:t.skipSpace()])
	}
	return b.String()
}

type tokenKind int

const (
	tokenOther tokenKind = iota // one character
	tokenWord
	tokenQuoted // '…', "…", $$…$$
	tokenComment
)

// lexer knows as much of PostgreSQL's lexical structure as tells code from quotes and comments.
type lexer struct {
	src        string
	start, pos int
	kind       tokenKind
}

func (l *lexer) text() string { return l.src[l.start:l.pos] }

func (l *lexer) skipSpace() int {
	return len(l.src) - len(strings.TrimLeftFunc(l.src[l.pos:], unicode.IsSpace))
}

// next finds the next token. It returns false at the end.
func (l *lexer) next() bool {
	l.pos = l.skipSpace()
	l.start = l.pos
	rest := l.src[l.pos:]
	if rest == "" {
		return false
	}
	first, size := utf8.DecodeRuneInString(rest)
	switch {
	case strings.HasPrefix(rest, "--"):
		l.kind = tokenComment
		l.pos += lengthTo(rest, "\n", 2)
	case strings.HasPrefix(rest, "/*"):
		l.kind = tokenComment
		l.pos += blockComment(rest)
	case first == '\'':
		l.kind = tokenQuoted
		l.pos += quoted(rest, '\'', false)
	case first == '"':
		l.kind = tokenQuoted
		l.pos += quoted(rest, '"', false)
	case (first == 'e' || first == 'E') && strings.HasPrefix(rest[1:], "'"):
		l.kind = tokenQuoted
		l.pos += 1 + quoted(rest[1:], '\'', true)
	case first == '$' && dollarTag(rest) != "":
		l.kind = tokenQuoted
		tag := dollarTag(rest)
		l.pos += lengthTo(rest, tag, len(tag))
	case unicode.IsLetter(first) || first == '_':
		l.kind = tokenWord
		l.pos += len(rest) - len(strings.TrimLeftFunc(rest, func(r rune) bool {
			return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '$'
		}))
	default:
		l.kind = tokenOther
		l.pos += size
	}
	return true
}

// lengthTo returns the length of s up to and with the first end after from, or all of it.
func lengthTo(s, end string, from int) int {
	if at := strings.Index(s[from:], end); at >= 0 {
		return from + at + len(end)
	}
	return len(s)
}

// quoted returns the length of the quoted string that s begins with.
func quoted(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] != quote:
		case i+1 < len(s) && s[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(s)
}

// blockComment returns the length of the comment that s begins with; such comments nest.
func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s)
}

// dollarTag returns the tag, such as $$ or $body$, that s begins with, or "".
func dollarTag(s string) string {
	for i, r := range s[1:] {
		switch {
		case r == '$':
			return s[:i+2]
		case unicode.IsLetter(r), r == '_', i > 0 && unicode.IsDigit(r):
		default:
			return ""
		}
	}
	return ""
}
