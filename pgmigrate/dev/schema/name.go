package schema

import (
	"regexp"
	"strings"
)

func lastQuoted(name string) string {
	parts := namePart.FindAllString(name, -1)
	return parts[len(parts)-1]
}

// qualified returns the object's name with its schema, quoted where needed.
func (o *Object) qualified() string {
	if m := objectName.FindStringSubmatch(o.Drop); m != nil {
		return m[1]
	}
	return quoted(o.Schema) + "." + quoted(o.Name)
}

var objectName = regexp.MustCompile(`^DROP (?:TABLE|TYPE|DOMAIN|VIEW|MATERIALIZED VIEW|FOREIGN TABLE|SEQUENCE) (` +
	qualified + `)$`)

// maxName is the length of PostgreSQL's names in bytes.
const maxName = 63

// shortName returns the quoted name with a suffix, cut to PostgreSQL's limit.
func shortName(name, ending string) string {
	if limit := maxName - len(ending); len(name) > limit {
		name = strings.ToValidUTF8(name[:limit], "")
	}
	return quoteIfNeeded(name + ending)
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

func quoteIfNeeded(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quoted(name)
}

const qualified = identifier + `(?:\.` + identifier + `)?`

var attaches = regexp.MustCompile(`^ALTER (?:TABLE|INDEX)(?: ONLY)? (` + qualified +
	`) ATTACH PARTITION (` + qualified + `)`)

var namePart = regexp.MustCompile(identifier)

// lastPart returns the name without its schema and quotes.
func lastPart(name string) string {
	parts := namePart.FindAllString(name, -1)
	if len(parts) == 0 {
		return name
	}
	return unquote(parts[len(parts)-1])
}
