package pgconfig

import (
	"regexp"
	"strings"
)

const fromEnvironment = "environment"

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// readEnvironment fills l.vars from the given environment and the .env files.
func (l *loader) readEnvironment(src Source) {
	l.vars = l.ours(src.Environ, fromEnvironment)

	var appEnv Environment
	text, set := l.vars["APP_ENV"]
	if err := appEnv.UnmarshalText([]byte(text.text)); err != nil || (set && appEnv.strict()) {
		return
	}
	if !set && l.namesDatabase() {
		return
	}
	for _, path := range src.DotEnv {
		values, ok := l.readDotEnv(path)
		if !ok {
			continue
		}
		for name, e := range l.ours(values, path) {
			if _, taken := l.vars[name]; taken || l.otherForm(name) {
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

// ours picks our variables and libpq's out of an environment, the prefix taken off.
func (l *loader) ours(environ map[string]string, source string) map[string]entry {
	vars := map[string]entry{}
	for name, value := range environ {
		if value == "" || !plainName.MatchString(name) {
			continue // what a slip in a .env file makes a name of may be a secret
		}
		switch {
		case name == "APP_ENV":
		case strings.HasPrefix(name, l.prefix+"DATABASE_"), strings.HasPrefix(name, l.prefix+"DIRECT_"):
			name = strings.TrimPrefix(name, l.prefix)
		case l.prefix == "" && strings.HasPrefix(name, "PG"):
		default:
			continue
		}
		vars[name] = entry{text: value, source: source}
	}
	return vars
}

// namesDatabase reports whether the variables say where a database is.
func (l *loader) namesDatabase() bool {
	for _, name := range []string{"DATABASE_URL", "DATABASE_URL_FILE", "PGHOST", "PGDATABASE", "PGSERVICE"} {
		if _, ok := l.vars[name]; ok {
			return true
		}
	}
	return false
}

// otherForm reports whether the stronger source has X_FILE where this one has X, or the other way
// round: then this one is overridden as if it had the same name.
func (l *loader) otherForm(name string) bool {
	other := strings.TrimSuffix(name, "_FILE")
	if other == name {
		other = name + "_FILE"
	}
	_, ok := l.vars[other]
	return ok && (other == "DATABASE_URL" || other == "DATABASE_URL_FILE")
}

// environment settles where the program runs.
func (l *loader) environment(local bool) Environment {
	var e Environment
	if err := e.UnmarshalText([]byte(l.vars["APP_ENV"].text)); err != nil {
		return Production // decode reports it
	}
	switch {
	case e != "":
		return e
	case local:
		return Development
	default:
		return Production
	}
}
