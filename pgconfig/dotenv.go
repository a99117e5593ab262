package pgconfig

import (
	"cmp"
	"regexp"
	"strings"
)

// dotEnv holds the variables of a .env file.
type dotEnv struct {
	values map[string]string
	// doubtful maps variables to the character in their value that another reader of the file, such
	// as a shell, may read differently.
	doubtful map[string]string
	environ  map[string]string // takes precedence over values
	twice    []string          // the names that have more than one value
	// brokenLine is the first line that is not of the form NAME=value, or 0.
	brokenLine int
}

var (
	envLine   = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:][ \t]*`)
	envExport = regexp.MustCompile(`^\s*export(\s+[A-Za-z_][A-Za-z0-9_]*)+\s*$`) // for shells
)

// parseDotEnv reads NAME=value lines. A value in single quotes is taken as it is. In double quotes
// \n is a line break, and a backslash escapes $, " and another backslash. Quoted values may span
// lines. A value without quotes ends at the end of the line or before " #".
//
// Outside of single quotes, $NAME and ${NAME} stand for a variable set earlier in the file, and \$
// is a $. If the environment sets that variable too, its value counts.
func parseDotEnv(text string, environ map[string]string) dotEnv {
	d := dotEnv{values: map[string]string{}, doubtful: map[string]string{}, environ: environ}
	rest := strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	for line := 1; rest != ""; {
		statement, _, _ := strings.Cut(rest, "\n")
		if s := strings.TrimSpace(statement); s == "" || s[0] == '#' || envExport.MatchString(s) {
			rest = skipLine(rest)
			line++
			continue
		}
		m := envLine.FindStringSubmatch(statement)
		if m == nil {
			d.brokenLine = line
			return d
		}
		value := rest[len(m[0]):]
		if strings.HasPrefix(value, "#") && strings.TrimRight(m[0], " \t") != m[0] {
			value = " " + value // a comment
		}
		raw, after, ok := envValue(value)
		if !ok {
			d.brokenLine = line
			return d
		}
		text, doubtful := d.expand(raw)
		if before, seen := d.values[m[1]]; seen && before != text {
			d.twice = append(d.twice, m[1])
		}
		d.values[m[1]], d.doubtful[m[1]] = text, doubtful
		if raw != "" && (raw[0] == '#' || raw[0] == '`') { // readers disagree on these
			d.doubtful[m[1]] = raw[:1]
		}
		line += strings.Count(rest[:len(rest)-len(after)], "\n")
		rest = after
	}
	return d
}

// envValue splits a value, quotes included, from the lines after it.
func envValue(s string) (raw, after string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		line, _, _ := strings.Cut(s, "\n")
		value := line
		if i := strings.Index(line, " #"); i >= 0 {
			value = line[:i]
		} else if i := strings.Index(line, "\t#"); i >= 0 {
			value = line[:i]
		}
		return strings.TrimSpace(value), skipLine(s), true
	}
	end := 1
	for ; end < len(s) && s[end] != s[0]; end++ {
		if s[0] == '"' && s[end] == '\\' {
			end++
		}
	}
	if end >= len(s) {
		return "", "", false
	}
	rest, _, _ := strings.Cut(s[end+1:], "\n")
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", "", false
	}
	return s[:end+1], skipLine(s[end+1:]), true
}

func skipLine(s string) string {
	_, after, _ := strings.Cut(s, "\n")
	return after
}

var envReference = regexp.MustCompile(`^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)

// expand removes the quotes and replaces references with values. If a character could also mean
// something else, expand returns it and the raw value.
func (d dotEnv) expand(raw string) (value, doubtful string) {
	quoted := strings.HasPrefix(raw, `"`)
	if quoted {
		raw = raw[1 : len(raw)-1]
	} else if strings.HasPrefix(raw, "'") {
		return raw[1 : len(raw)-1], ""
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\' && quoted && strings.IndexByte("\\\"$nr", raw[i+1]) < 0:
			return raw, "backslash"
		case c == '\\' && i+1 < len(raw) && (quoted || raw[i+1] == '$'):
			i++
			b.WriteString(escaped(raw[i]))
		case c == '$' && i+1 < len(raw): // to a shell or to Compose, nearly any next character has a meaning
			m := envReference.FindStringSubmatch(raw[i:])
			if m == nil {
				return raw, "$"
			}
			text, set := d.values[m[1]+m[2]]
			text = cmp.Or(d.environ[m[1]+m[2]], text)
			// Without a limit, a few lines can double a value again and again.
			doubt := d.doubtful[m[1]+m[2]] != "" && d.environ[m[1]+m[2]] == ""
			if !set || doubt || b.Len()+len(text) > maxSecretFile {
				return raw, "$"
			}
			b.WriteString(text)
			i += len(m[0]) - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

func escaped(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	}
	return string([]byte{c})
}
