package fault

import "strings"

// commits reports whether one of the statements in sql is COMMIT or END. It knows what quotes,
// comments and the bodies of functions hide.
func commits(sql string) bool {
	var s statement
	for sql != "" {
		token, rest := nextToken(sql)
		sql = rest
		switch {
		case token == ";" && s.depth == 0:
			s = statement{}
		case s.add(token):
			return true
		}
	}
	return false
}

// statement is what is known of the statement that commits reads.
type statement struct {
	words   int
	create  bool
	routine bool
	depth   int // of BEGIN ATOMIC and CASE in the body of a function
}

// add reports whether the statement turns out to be one that commits.
func (s *statement) add(token string) bool {
	if token == "" { // space or a comment
		return false
	}
	s.words++
	switch word := strings.ToLower(token); {
	case s.words == 1 && (word == "commit" || word == "end"):
		return true
	case s.words == 1:
		s.create = word == "create"
	case s.create && s.words <= 4 && (word == "function" || word == "procedure"): // CREATE OR REPLACE FUNCTION
		s.routine = true
	case s.routine && (word == "begin" || word == "case" && s.depth > 0):
		s.depth++
	case s.routine && word == "end" && s.depth > 0:
		s.depth--
	}
	return false
}

// nextToken splits sql after its first token: a word, a quoted text or one other character. The
// token is empty for space and comments.
func nextToken(sql string) (token, rest string) {
	switch {
	case strings.ContainsRune(" \t\r\n\f\v", rune(sql[0])):
		return "", sql[1:]
	case strings.HasPrefix(sql, "--"):
		_, rest, _ := strings.Cut(sql, "\n")
		return "", rest
	case strings.HasPrefix(sql, "/*"):
		return "", sql[commentEnd(sql):]
	case sql[0] == '\'' || sql[0] == '"':
		return split(sql, quoteEnd(sql, false))
	case (sql[0] == 'e' || sql[0] == 'E') && strings.HasPrefix(sql[1:], "'"):
		return split(sql, 1+quoteEnd(sql[1:], true))
	case sql[0] == '$':
		return split(sql, dollarEnd(sql))
	}
	return split(sql, max(1, wordEnd(sql))) // a number falls into digits, which do no harm
}

func split(sql string, n int) (token, rest string) { return sql[:n], sql[n:] }

func wordEnd(sql string) int {
	for i := range len(sql) {
		c := sql[i]
		letter := c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '$' && (c < '0' || c > '9')) {
			return i
		}
	}
	return len(sql)
}

func quoteEnd(sql string, backslash bool) int {
	for i := 1; i < len(sql); i++ {
		switch {
		case backslash && sql[i] == '\\':
			i++
		case sql[i] == sql[0]: // of a doubled quote the second one begins another text
			return i + 1
		}
	}
	return len(sql)
}

func commentEnd(sql string) int {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
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
	return len(sql)
}

// dollarEnd returns the end of a text in dollar quotes, or 1 for a dollar that begins none, such as
// that of a parameter.
func dollarEnd(sql string) int {
	tag := strings.IndexByte(sql[1:], '$') + 1
	if tag == 0 || tag > 1 && wordEnd(sql[1:tag]) != tag-1 {
		return 1
	}
	quote := sql[:tag+1]
	if end := strings.Index(sql[tag+1:], quote); end >= 0 {
		return tag + 1 + end + len(quote)
	}
	return len(sql)
}
