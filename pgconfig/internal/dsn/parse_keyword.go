package dsn

import "strings"

const space = " \t\n\r\v\f" // as libpq

// parseKeywords parses libpq's keyword=value form: host=db user=app password='two words'. A
// backslash escapes the next character, inside and outside of quotes.
func parseKeywords(text string) (DSN, []Problem) {
	p := newParser(false)
	const hint = "write postgres://user:password@host:5432/database, or host=… user=… dbname=…; a value with spaces " +
		"stands in single quotes"
	// Show the name of an unknown keyword only between known ones and before any secret, because
	// the whole text may be a password with a = in it.
	mayShow := false
	for rest := text; rest != ""; rest = strings.TrimLeft(rest, space) {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimRight(name, space)
		if !ok || name == "" || strings.ContainsAny(name, space) {
			return p.stop("is neither a URL nor libpq's keyword=value form", hint)
		}
		var value string
		if value, rest, ok = keywordValue(strings.TrimLeft(after, space)); !ok {
			return p.stop("has a quotation mark that is not closed", hint)
		}
		quoted := strings.HasPrefix(strings.TrimLeft(after, space), "'")
		if strings.HasSuffix(value, ",") && rest != "" && !IsSecret(name) && !quoted {
			return p.stop("has a comma between its keywords", "write a space between them, and nothing else")
		}
		known := p.checkName(name, mayShow)
		mayShow = known && !IsSecret(name) && p.raw["password"]+p.raw["sslpassword"] == ""
		if known {
			p.raw[name] = value
		}
	}
	return p.finish()
}

func keywordValue(s string) (value, rest string, ok bool) {
	end := space
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s, end = s[1:], "'"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			if i++; i < len(s) { // at the very end it is dropped, as in libpq
				b.WriteByte(s[i])
			}
		case strings.IndexByte(end, s[i]) >= 0:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", !quoted
}

// Split splits a list of connection strings at commas, semicolons and white space.
//
// A URL or a host list may contain commas. So the next string must begin with a scheme, or, after a
// comma, a semicolon or a line break, with a keyword such as host=. After a line break the current
// string must have that keyword already, because libpq treats a line break as a space.
func Split(list string) []string {
	const separators = ",; \t\r\n"
	var all []string
	rest := strings.Trim(list, separators)
	start, quoted, url := 0, false, startsURL(rest)
	seen := map[string]bool{startKeyword(rest): true}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case !url && c == '\\':
			i++
		case !url && c == '\'':
			quoted = !quoted
		case !quoted && strings.IndexByte(separators, c) >= 0:
			after := strings.TrimLeft(rest[i:], separators)
			gap := rest[i : len(rest)-len(after)]
			keyword := startKeyword(after)
			if startsURL(after) || keyword != "" && (strings.ContainsAny(gap, ",;") ||
				strings.Contains(gap, "\n") && (url || seen[keyword])) {
				all = append(all, rest[start:i])
				start, url = len(rest)-len(after), startsURL(after)
				clear(seen)
			}
			seen[keyword] = true
			i = len(rest) - len(after) - 1
		}
	}
	if rest != "" {
		all = append(all, rest[start:])
	}
	return all
}

func startsURL(s string) bool {
	rest := strings.TrimLeft(s, "abcdefghijklmnopqrstuvwxyz0123456789+")
	return rest != s && strings.HasPrefix(rest, "://")
}

// startKeyword returns the keyword that s begins with, or "".
func startKeyword(s string) string {
	name, _, ok := strings.Cut(s[:min(len(s), longestKeyword)], "=")
	name = strings.TrimRight(name, space)
	if _, known := libpqParams[name]; !ok || !known {
		return ""
	}
	return name
}

// longestKeyword is longer than any keyword and the space after it. Without this limit, Split would
// search the rest of a long list at each separator.
const longestKeyword = 64 // bytes
