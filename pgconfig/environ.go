package pgconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

const fromEnvironment = "environment"

// entry is the text of a variable and where it came from.
type entry struct{ text, source string }

// readEnvironment fills l.vars from the given environment and the .env files.
func (l *loader) readEnvironment(src Source) {
	l.vars = l.pick(src.Environ, fromEnvironment)

	var appEnv Environment
	e, set := l.vars["APP_ENV"]
	if err := appEnv.UnmarshalText([]byte(e.text)); err != nil {
		l.unread = true
		return
	}
	if set && appEnv.strict() || !set && l.namesDatabase() {
		return
	}
	for _, path := range src.DotEnv {
		for name, e := range l.readDotEnv(path, src.Environ) {
			if _, taken := l.vars[name]; taken || l.hasOtherForm(name) {
				continue
			}
			l.vars[name] = e
			l.borrowed = !set
		}
	}
	if e := l.vars["APP_ENV"]; !set && (e.text == string(Production) || e.text == string(Staging)) {
		l.add("APP_ENV", "is "+e.text+" in .env, which is not read there",
			"set it in the environment, or write development")
	}
}

// readDotEnv reads our variables and libpq's from one .env file. A missing file has none.
func (l *loader) readDotEnv(path string, environ map[string]string) map[string]entry {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		l.add(path, "is a pipe", "put the variables into the environment of the program, or into a file")
		l.unread = true
		return nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.add(path, "cannot be read", "allow this user to read it, or remove it")
		l.unread = true
		return nil
	}
	d := parseDotEnv(string(data), environ)
	if d.brokenLine > 0 { // do not show the line: it may be part of a secret
		l.add(fmt.Sprintf("%s line %d", path, d.brokenLine), "is not of the form NAME=value",
			"put a value with spaces or a # in quotes, and close each quotation mark")
		l.unread = true
		return nil
	}
	vars := l.pick(d.values, path)
	for _, name := range d.twice {
		own := strings.TrimPrefix(name, l.prefix)
		if _, stronger := l.vars[own]; vars[own].text != "" && !stronger {
			l.note(own, "is in "+path+" more than once: the last one counts")
		}
	}
	for _, name := range sortedKeys(vars) {
		full := addPrefix(l.prefix, name)
		if _, stronger := l.vars[name]; d.doubtful[full] != "" && !stronger {
			what := d.doubtful[full]
			meant := map[string]string{
				"$": "a variable", "#": "a comment", "`": "a quotation mark",
				"backslash": "the character after it alone",
			}[what]
			l.add(path, "has a "+what+" in "+full+" that may be taken for "+meant, "put it in single quotes")
			l.unread = true
			delete(vars, name)
		}
	}
	return vars
}

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// pick returns our variables and libpq's from an environment, without the prefix.
func (l *loader) pick(environ map[string]string, source string) map[string]entry {
	vars := map[string]entry{}
	for name, value := range environ {
		if value == "" || !plainName.MatchString(name) {
			continue // after a slip in a .env file, the name may be a secret
		}
		switch {
		case name == "APP_ENV":
		case strings.HasPrefix(name, l.prefix+"DATABASE_"), strings.HasPrefix(name, l.prefix+"DIRECT_"):
			name = strings.TrimPrefix(name, l.prefix)
		case l.isLowerCase(name): // noteUnknown notes it
		case l.prefix == "" && strings.HasPrefix(name, "PG"):
		default:
			continue
		}
		vars[name] = entry{text: value, source: source}
	}
	return vars
}

// isLowerCase reports whether a name is one of our variables in lower case.
func (l *loader) isLowerCase(name string) bool {
	own, ok := strings.CutPrefix(strings.ToUpper(name), l.prefix)
	_, known := find(own)
	return ok && known && l.prefix+own != name
}

// namesDatabase reports whether the variables say where a database is.
func (l *loader) namesDatabase() bool {
	for _, name := range []string{
		"DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGHOSTADDR", "PGDATABASE",
		"PGSERVICE",
	} {
		if _, ok := l.vars[name]; ok {
			return true
		}
	}
	return false
}

// hasOtherForm reports whether the stronger source has DATABASE_URL_FILE and this one DATABASE_URL,
// or vice versa. The stronger one then overrides this one as if they had the same name.
func (l *loader) hasOtherForm(name string) bool {
	other := map[string]string{"DATABASE_URL": "DATABASE_URL_FILE", "DATABASE_URL_FILE": "DATABASE_URL"}[name]
	_, ok := l.vars[other]
	return ok
}
