package pgquery

import "strings"

// EscapeLike returns a pattern of LIKE and ILIKE that matches s itself: "%" + EscapeLike(s) + "%"
// finds texts that contain s.
func EscapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// EscapeRegexp returns a regular expression of ~ and its family that matches s itself.
func EscapeRegexp(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$#`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// EscapeTSQuery returns a query of to_tsquery that finds the words of s next to each other,
// whatever operators it contains. For what a person types, websearch_to_tsquery needs no escaping.
func EscapeTSQuery(s string) string {
	if strings.TrimSpace(s) == "" {
		return "" // which to_tsquery accepts, other than a word that is empty
	}
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
}

// EscapeJSONPath returns s as a string constant of a jsonpath.
func EscapeJSONPath(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
