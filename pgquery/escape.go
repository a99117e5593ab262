package pgquery

import "strings"

// EscapeLike returns a pattern for LIKE and ILIKE that matches s itself. Put % around it in Go, not
// around what a client sent.
func EscapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// EscapeRegexp returns a regular expression, for ~ and its family, that matches s itself.
func EscapeRegexp(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$#`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	if b.Len() == 0 {
		return "(?:)"
	}
	return "***=" + s
}

// EscapeTSQuery returns s as one lexeme of a query for to_tsquery, without its operators. For what a
// person types, websearch_to_tsquery accepts any text and needs no help.
func EscapeTSQuery(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
}

// EscapeJSONPath returns s as a string of the jsonpath language.
func EscapeJSONPath(s string) string {
	return s
}
