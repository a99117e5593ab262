package dsn

import (
	"maps"
	"slices"
	"strings"
)

// applyOptions parses libpq's options as the server does: words separated by white space, where a
// backslash escapes the next character. -c name=value and --name=value are settings. Other words
// are kept as they are.
func applyOptions(p *parser, _, value string) (detail, hint string) {
	words := splitOptions(value)
	assigned := map[string]string{} // the server takes the last value of a setting
	for i := 0; i < len(words); i++ {
		assignment, ok := "", false
		switch word := words[i]; {
		case word == "-c" && i+1 < len(words):
			i++
			assignment, ok = words[i], true
		case strings.HasPrefix(word, "--"):
			assignment, ok = word[2:], true
		case strings.HasPrefix(word, "-c"):
			assignment, ok = word[2:], true
		}
		name, text, hasValue := strings.Cut(assignment, "=")
		name = strings.ToLower(strings.ReplaceAll(name, "-", "_")) // as the server does
		switch {
		case !ok && !strings.ContainsAny(words[i], "-=") && (i == 0 || !isFlag(words[i-1])):
			return "has a word that is neither a flag nor name=value", "write a backslash before a space inside a value"
		case !ok:
			p.Flags = append(p.Flags, words[i])
			continue
		case !hasValue || name == "":
			return "has a setting without a value", "write -c name=value, in a URL options=-c%20name%3Dvalue"
		}
		if before, twice := assigned[name]; twice && before != text {
			p.note(name + " is in options more than once: the last one counts")
		}
		assigned[name] = text
	}
	for _, name := range slices.Sorted(maps.Keys(assigned)) {
		text := assigned[name]
		switch {
		case serverLimits[name] != "":
			detail, _ := limit(serverLimits[name], serverDuration, weak)(p, name+" in options", text)
			if detail != "" {
				return "sets " + name + " to a value that " + detail, "correct it, or take it out"
			}
		case name == "application_name":
			_, _ = limit("DATABASE_APPLICATION_NAME", verbatim, weak)(p, name+" in options", text)
		default:
			if other, taken := p.Settings[name]; taken && other != text {
				p.note(name + " in options is left out: the parameter says otherwise")
				continue
			}
			p.Settings[name] = text
		}
	}
	return "", ""
}

// isFlag reports whether a word is a flag that takes the next word, such as -d 5.
func isFlag(word string) bool { return len(word) == 2 && word[0] == '-' }

func splitOptions(value string) []string {
	var words []string
	var b strings.Builder
	inWord := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case strings.IndexByte(space, c) >= 0:
			if inWord {
				words = append(words, b.String())
				b.Reset()
			}
			inWord = false
			continue
		case c == '\\' && i+1 < len(value):
			i++
			c = value[i]
		}
		b.WriteByte(c)
		inWord = true
	}
	if inWord {
		words = append(words, b.String())
	}
	return words
}

// Options returns flags and settings as libpq's parameter options has them.
func (d DSN) Options() string {
	words := d.FlagOptions()
	for _, name := range slices.Sorted(maps.Keys(d.Settings)) {
		words = append(words, "-c "+escapeOption(name+"="+d.Settings[name]))
	}
	return strings.Join(words, " ")
}

// FlagOptions returns the words of options that are not settings, in the form of options.
func (d DSN) FlagOptions() []string {
	words := make([]string, len(d.Flags))
	for i, f := range d.Flags {
		words[i] = escapeOption(f)
	}
	return words
}

func escapeOption(word string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' || strings.IndexByte(space, word[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(word[i])
	}
	return b.String()
}
