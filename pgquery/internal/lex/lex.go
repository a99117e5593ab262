// Package lex splits SQL text into the tokens that the server's own lexer sees, as far as named
// arguments, nesting and keywords need it. It assumes standard_conforming_strings, the default.
package lex

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds of tokens. Quoted covers string constants, quoted identifiers and numbers: text in
// which nothing has to be found.
const (
	Space Kind = iota
	Word
	Quoted
	Argument
	Symbol
)

// Token is a piece of SQL text. The Text of an Argument is its name without the @, that of a Space
// never contains a comment.
type Token struct {
	Kind  Kind
	Text  string
	Depth int // how many parentheses and brackets are open around the token
}

// ErrEmpty says that a text has no token but space.
var ErrEmpty = errors.New("the text is empty")

// Tokens splits text. A line comment becomes a line break, a block comment a space. Tokens fails if
// the text cannot stand inside another statement: an open quote, comment or parenthesis, one that
// was never opened, a semicolon, a positional parameter, or bytes that are not UTF-8.
func Tokens(text string) ([]Token, error) {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, errors.New("the text is not UTF-8 or contains a NUL")
	}
	l := lexer{text: text}
	for l.pos < len(l.text) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	if n := len(l.open); n > 0 {
		return nil, fmt.Errorf("%q is never closed", l.open[n-1])
	}
	for _, t := range l.tokens {
		if t.Kind != Space {
			return l.tokens, nil
		}
	}
	return nil, ErrEmpty
}

type lexer struct {
	text   string
	pos    int
	open   []byte // the parentheses and brackets that are open
	tokens []Token
}

func (l *lexer) add(kind Kind, text string) {
	l.tokens = append(l.tokens, Token{Kind: kind, Text: text, Depth: len(l.open)})
}

// take adds the next n bytes as a token.
func (l *lexer) take(kind Kind, n int) {
	l.add(kind, l.text[l.pos:l.pos+n])
	l.pos += n
}

// has reports whether the text goes on with prefix.
func (l *lexer) has(prefix string) bool { return strings.HasPrefix(l.text[l.pos:], prefix) }

func (l *lexer) next() error {
	rest := l.text[l.pos:]
	c := rest[0]
	switch {
	case isSpace(c):
		l.take(Space, run(rest, isSpace))
	case l.has("--"):
		l.lineComment()
	case l.has("/*"):
		return l.blockComment()
	case c == '\'':
		return l.quote(0, false)
	case c == '"':
		return l.quotedIdentifier(0)
	case (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'':
		return l.quote(1, true)
	case strings.ContainsRune("bBxXnN", rune(c)) && len(rest) > 1 && rest[1] == '\'':
		return l.quote(1, false)
	case (c == 'u' || c == 'U') && len(rest) > 2 && rest[1] == '&' && rest[2] == '\'':
		return l.quote(2, false)
	case (c == 'u' || c == 'U') && len(rest) > 2 && rest[1] == '&' && rest[2] == '"':
		return l.quotedIdentifier(2)
	case isWordStart(c):
		l.take(Word, run(rest, isWord))
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		l.take(Quoted, run(rest, func(c byte) bool { return isWord(c) && c != '$' || c == '.' }))
	case c == '$':
		return l.dollar()
	case isOperator(c):
		return l.operator()
	default:
		return l.symbol(c)
	}
	return nil
}

func (l *lexer) lineComment() {
	end := strings.IndexAny(l.text[l.pos:], "\n\r")
	if end < 0 {
		end = len(l.text) - l.pos
	}
	l.pos += end
	l.add(Space, "\n")
}

func (l *lexer) blockComment() error {
	depth := 0
	for i := l.pos; i < len(l.text); i++ {
		switch {
		case strings.HasPrefix(l.text[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(l.text[i:], "*/"):
			i++
			if depth--; depth == 0 {
				l.pos = i + 1
				l.add(Space, " ")
				return nil
			}
		}
	}
	return errors.New("a block comment is never closed")
}

// quote reads a string constant whose quote follows prefix bytes. One that goes on in the next line
// would go on by the rules of its first part.
func (l *lexer) quote(prefix int, escapes bool) error {
	for i := len(l.tokens) - 1; i >= 0 && l.tokens[i].Kind != Word; i-- {
		if t := l.tokens[i]; t.Kind == Quoted && t.Text[len(t.Text)-1] == '\'' {
			return errors.New("a string constant follows another one: write it in one, or put || between them")
		} else if t.Kind != Space {
			break
		}
	}
	i := l.pos + prefix + 1
	for i < len(l.text) {
		switch {
		case escapes && l.text[i] == '\\':
			i += 2
		case l.text[i] != '\'':
			i++
		case strings.HasPrefix(l.text[i:], "''"):
			i += 2
		default:
			i++
			l.take(Quoted, i-l.pos)
			return nil
		}
	}
	return errors.New("a string constant is never closed")
}

func (l *lexer) quotedIdentifier(prefix int) error {
	for i := l.pos + prefix + 1; i < len(l.text); i++ {
		if l.text[i] != '"' {
			continue
		}
		if strings.HasPrefix(l.text[i:], `""`) {
			i++
			continue
		}
		l.take(Quoted, i+1-l.pos)
		return nil
	}
	return errors.New("a quoted identifier is never closed")
}

// dollar reads a dollar-quoted string. A word never gets here with a $ inside it.
func (l *lexer) dollar() error {
	rest := l.text[l.pos+1:]
	if rest != "" && isDigit(rest[0]) {
		return fmt.Errorf("$%s is a positional parameter: arguments have names, as in @name", rest[:run(rest, isDigit)])
	}
	tag := run(rest, func(c byte) bool { return isWord(c) && c != '$' })
	if tag >= len(rest) || rest[tag] != '$' {
		return errors.New("a $ belongs to nothing")
	}
	quote := l.text[l.pos : l.pos+tag+2]
	end := strings.Index(l.text[l.pos+len(quote):], quote)
	if end < 0 {
		return fmt.Errorf("a string constant %s is never closed", quote)
	}
	l.take(Quoted, end+2*len(quote))
	return nil
}

// operator reads a run of operator characters, as the server does: the longest that is not the
// start of a comment. An @ at its end starts an argument only where no operator can be meant.
func (l *lexer) operator() error {
	rest := l.text[l.pos:]
	n := run(rest, isOperator)
	for _, comment := range []string{"--", "/*"} {
		if i := strings.Index(rest[:n], comment); i > 0 {
			n = i
		}
	}
	before, isArgument := strings.CutSuffix(rest[:n], "@")
	if !isArgument || n == len(rest) || !isWordStart(rest[n]) {
		l.take(Symbol, n)
		return nil
	}
	name := rest[n : n+run(rest[n:], isWord)]
	switch before {
	case "": // an argument alone
	case "@": // the operator of text search and jsonpath
		l.take(Symbol, n)
		return nil
	case "=", "<>", "!=", ">", ">=", "<=", "+", "-", "*", "/", "%", "||":
		l.add(Symbol, before)
	default:
		return fmt.Errorf("%s@%s may be an operator or an argument: put a space between them", before, name)
	}
	l.add(Argument, name)
	l.pos += n + len(name)
	return nil
}

func (l *lexer) symbol(c byte) error {
	switch c {
	case ';':
		return errors.New("a semicolon ends the statement")
	case '(', '[':
		l.take(Symbol, 1)
		l.open = append(l.open, c)
	case ')', ']':
		n := len(l.open) - 1
		if n < 0 || (l.open[n] == '(') != (c == ')') {
			return fmt.Errorf("%q closes nothing", c)
		}
		l.open = l.open[:n]
		l.take(Symbol, 1)
	case ':':
		l.take(Symbol, 1+run(l.text[l.pos+1:], func(c byte) bool { return c == ':' || c == '=' }))
	case '\\', '{', '}':
		return fmt.Errorf("%q is not SQL", c)
	default: // a comma or a dot
		l.take(Symbol, 1)
	}
	return nil
}

// run returns how many bytes at the start of text are in the class.
func run(text string, class func(byte) bool) int {
	for i := range len(text) {
		if !class(text[i]) {
			return i
		}
	}
	return len(text)
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\n\r\f\v", c) >= 0 }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isWordStart(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= utf8.RuneSelf
}
func isWord(c byte) bool     { return isWordStart(c) || isDigit(c) || c == '$' }
func isOperator(c byte) bool { return strings.IndexByte("+-*/<>=~!@#%^&|`?", c) >= 0 }
