package sqlscan

import (
	"slices"
	"strings"
)

// Statement is one statement of a text, without its semicolon and the comments around it.
type Statement struct {
	Start, End int      // in bytes
	Words      []string // its first keywords and identifiers, in lower case; at most maxWords
	Atomic     bool     // it has a body BEGIN ATOMIC … END
	CopyData   bool     // COPY … FROM STDIN or TO STDOUT, which needs the client
}

// Word returns the word number i in lower case, from 0, or "".
func (s Statement) Word(i int) string {
	if i < len(s.Words) {
		return s.Words[i]
	}
	return ""
}

// IsSetting reports whether the statement is SET or RESET.
func (s Statement) IsSetting() bool { return s.Word(0) == "set" || s.Word(0) == "reset" }

// EndsTransaction reports whether the statement begins or ends a transaction.
func (s Statement) EndsTransaction() bool {
	switch s.Word(0) {
	case "begin", "commit", "end", "abort":
		return true
	case "start", "prepare":
		return s.Word(1) == "transaction"
	case "rollback":
		return !slices.Contains(s.Words, "to") // a savepoint
	default:
		return false
	}
}

// Chains reports whether a COMMIT or ROLLBACK begins the next transaction: AND CHAIN.
func (s Statement) Chains() bool {
	n := len(s.Words)
	return s.EndsTransaction() && n >= 3 && s.Words[n-1] == "chain" && s.Words[n-2] == "and"
}

// Lines finds the lines of offsets that ascend, in one pass over the text.
type Lines struct {
	Text   string
	Line   int // of the offset passed so far; 0 stays 0: the lines are not known
	passed int
}

// At returns the line of offset, which must not be less than in the call before.
func (l *Lines) At(offset int) int {
	if l.Line > 0 && offset > l.passed {
		l.Line += strings.Count(l.Text[l.passed:offset], "\n")
		l.passed = offset
	}
	return l.Line
}

// Fault is something that no server accepts.
type Fault struct {
	Kind   FaultKind
	Offset int    // where it begins, in bytes
	Text   string // its beginning
}

// FaultKind tells the kinds of [Fault] apart.
type FaultKind string

// The kinds of faults.
const (
	UnclosedString     FaultKind = "string"
	UnclosedIdentifier FaultKind = "quoted identifier"
	UnclosedDollar     FaultKind = "dollar quote"
	UnclosedComment    FaultKind = "comment"
	Backslash          FaultKind = "backslash" // a command of psql
)

// maxWords is enough for CREATE … INDEX CONCURRENTLY IF NOT EXISTS and for ROLLBACK … TO SAVEPOINT.
const maxWords = 8

// Split finds the statements of sql, in linear time. SET standard_conforming_strings counts for the
// statements after it, as it does if they are sent one by one.
func Split(sql string) ([]Statement, []Fault) {
	s := splitter{lexer: Lexer{SQL: sql}}
	for s.lexer.Next() {
		s.token()
	}
	s.end()
	return s.statements, s.faults
}

type splitter struct {
	lexer      Lexer
	statements []Statement
	faults     []Fault

	current     Statement
	begun       bool
	parentheses int      // CREATE RULE … DO (…; …)
	bodies      int      // open BEGIN ATOMIC
	head        []string // the first words of the statement, or of the one inside a body
	boundary    bool     // the previous token was a semicolon or ATOMIC
	previous    string   // the previous token, if it was a word
	setting     []string // the words, numbers and strings of the statement, as far as setsStrings looks
}

func (s *splitter) token() {
	l := &s.lexer
	if l.Unclosed {
		s.faults = append(s.faults, Fault{Kind: unclosed[l.Kind], Offset: l.Start, Text: beginning(l.Text())})
	}
	if l.Kind == Comment {
		return
	}
	if l.Is(';') && s.parentheses == 0 {
		if s.bodies == 0 {
			s.end()
		} else {
			s.boundary, s.previous, s.head = true, "", nil
		}
		return
	}
	if !s.begun {
		s.begun, s.current.Start = true, l.Start
	}
	s.current.End = l.End
	boundary, previous := s.boundary, s.previous
	s.boundary, s.previous = false, ""
	if len(s.setting) < maxWords && l.Kind != Other && l.End-l.Start < len("standard_conforming_strings")+3 {
		s.setting = append(s.setting, strings.ToLower(strings.Trim(l.Text(), `'"`)))
	}
	switch {
	case l.Is('('):
		s.parentheses++
	case l.Is(')'):
		s.parentheses = max(s.parentheses-1, 0)
	case l.Is('\\'):
		s.faults = append(s.faults, Fault{Kind: Backslash, Offset: l.Start, Text: beginning(l.SQL[l.Start:])})
	case l.Kind == Word:
		s.word(strings.ToLower(l.Text()), previous, boundary)
	}
}

func (s *splitter) word(word, previous string, boundary bool) {
	s.previous = word
	if len(s.current.Words) < maxWords {
		s.current.Words = append(s.current.Words, word)
	}
	if len(s.head) < maxWords {
		s.head = append(s.head, word)
	}
	if s.parentheses > 0 {
		return
	}
	switch {
	case word == "atomic" && previous == "begin" && createsRoutine(s.head):
		s.current.Atomic, s.boundary = true, true
		s.bodies++
		s.head = nil
	// END ends the body only after a statement: elsewhere it ends a CASE or is a name.
	case word == "end" && boundary && s.bodies > 0:
		s.bodies--
	case (word == "stdin" || word == "stdout") && (previous == "from" || previous == "to") &&
		s.current.Words[0] == "copy":
		s.current.CopyData = true
	}
}

func (s *splitter) end() {
	if s.begun {
		s.lexer.BackslashQuotes = setsStrings(s.setting, s.lexer.BackslashQuotes)
		s.statements = append(s.statements, s.current)
	}
	s.current, s.begun, s.parentheses, s.bodies = Statement{}, false, 0, 0
	s.head, s.boundary, s.previous, s.setting = nil, false, "", s.setting[:0]
}

// createsRoutine reports whether a statement that starts with head may have a body.
func createsRoutine(head []string) bool {
	if len(head) >= 3 && head[1] == "or" && head[2] == "replace" {
		head = head[2:]
	}
	return len(head) >= 2 && (head[0] == "create" || head[0] == "replace") &&
		(head[1] == "function" || head[1] == "procedure")
}

// setsStrings returns whether backslashes escape after a statement.
func setsStrings(words []string, backslash bool) bool {
	const name = "standard_conforming_strings"
	switch {
	case len(words) < 2:
		return backslash
	case words[0] == "reset" && (words[1] == name || words[1] == "all"), words[0] == "discard" && words[1] == "all":
		return false
	case words[0] != "set":
		return backslash
	}
	words = slices.DeleteFunc(slices.Clone(words[1:]), func(w string) bool {
		return w == "session" || w == "local" || w == "to"
	})
	if len(words) < 2 || words[0] != name {
		return backslash
	}
	switch words[1] {
	case "off", "of", "false", "fals", "fal", "fa", "f", "no", "n", "0":
		return true
	default:
		return false
	}
}

var unclosed = map[Kind]FaultKind{
	String: UnclosedString, Identifier: UnclosedIdentifier, Dollar: UnclosedDollar, Comment: UnclosedComment,
}

// beginning returns the first word of text, for a message.
func beginning(text string) string {
	const most = 30
	text = text[:min(len(text), most+1)]
	if at := strings.IndexAny(text, " \t\n\r\f\v"); at >= 0 {
		text = text[:at]
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
