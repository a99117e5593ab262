package dsn

import "regexp"

// placeholders are the texts that documentation, templates and consoles show in place of a value.
// loose finds one anywhere in a host, a user or a database name. whole must match an entire
// password, because a generated password may contain such characters.
var placeholders = []struct {
	sample       string
	loose, whole *regexp.Regexp
}{
	{
		"[YOUR-PASSWORD]", regexp.MustCompile(`\[[A-Za-z][A-Za-z _-]*\]`),
		regexp.MustCompile(`(?i)^\[[a-z0-9 _-]*(pass|pw|secret|your)[a-z0-9 _-]*\]$`),
	},
	{
		"<password>", regexp.MustCompile(`<[A-Za-z][\w -]*>`),
		regexp.MustCompile(`(?i)^<[a-z _-]*(pass|pw|secret|your)[a-z _-]*>$`),
	},
	{"${NAME}", regexp.MustCompile(`\$\{\w+\}`), regexp.MustCompile(`^\$\{\w+(:?[-?+=][^}]*)?\}$`)},
	{
		"{name}", regexp.MustCompile(`^\{[A-Za-z][\w -]*\}$`),
		regexp.MustCompile(`(?i)^\{[a-z0-9 _-]*(pass|pw|secret|your)[a-z0-9 _-]*\}$`),
	},
	{"%NAME%", regexp.MustCompile(`^%[A-Z_]+%$`), regexp.MustCompile(`(?i)^%\w*(pass|pw|secret)\w*%$`)},
	{"$(NAME)", regexp.MustCompile(`\$\(\w+\)`), regexp.MustCompile(`^\$\(\w+\)$`)},
	{"{{ NAME }}", regexp.MustCompile(`\{\{.*\}\}`), regexp.MustCompile(`^\$?\{\{.*\}\}$`)}, // GitHub's with a $
	{"#{NAME}", regexp.MustCompile(`#\{\w+\}`), regexp.MustCompile(`^#\{\w+\}$`)},
	{"__NAME__", regexp.MustCompile(`^__[A-Z][A-Z0-9_]*__$`), regexp.MustCompile(`^__[A-Z][A-Z0-9_]*__$`)},
	{"op://vault/item/field", regexp.MustCompile(`^op://`), regexp.MustCompile(`^op://[^/]+/[^/]+/`)},
	{
		"@Microsoft.KeyVault(…)", regexp.MustCompile(`^@Microsoft\.KeyVault\(`),
		regexp.MustCompile(`^@Microsoft\.KeyVault\(.*\)$`),
	},
	{"$NAME", regexp.MustCompile(`^\$[A-Z_]+$`), regexp.MustCompile(`(?i)^\$[A-Z0-9_]*(PASS|PW|SECRET)[A-Z0-9_]*$`)},
	{
		"PASSWORD", regexp.MustCompile(`^(USER|HOST|DATABASE)$`),
		regexp.MustCompile(`^PASSWORD$|^(?i)your[ _-]?password([ _-]?here)?$`),
	},
	{Redacted, regexp.MustCompile(`^\*+$`), regexp.MustCompile(`^\*{4,}$`)},
}

const notReplaced = "put the value in its place: nothing here replaces it"

// placeholder returns a sample of the placeholder that a part looks like, or "". The part itself is
// not shown.
func placeholder(part, text string) string {
	for _, p := range placeholders {
		pattern := p.loose
		if part == "password" {
			pattern = p.whole
		}
		if pattern.MatchString(text) {
			return p.sample
		}
	}
	return ""
}
