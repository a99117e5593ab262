package pgconfig

import (
	"regexp"
	"strings"
)

// mainDSN reads DATABASE_URL or DATABASE_URL_FILE, or else starts from nothing and lets PG* fill
// everything.
func (l *loader) mainDSN(password entry) (dsn, bool) {
	url, hasURL := l.vars["DATABASE_URL"]
	_, hasFile := l.vars["DATABASE_URL_FILE"]
	switch {
	case hasURL && hasFile:
		l.add("DATABASE_URL", "and "+prefixed(l.prefix, "DATABASE_URL_FILE")+" are both set", "set one of them")
		return dsn{}, false
	case hasFile:
		text, ok := l.readSecretFile("DATABASE_URL_FILE")
		if !ok {
			return dsn{}, false
		}
		return l.parse("DATABASE_URL_FILE", text, password)
	case hasURL:
		return l.parse("DATABASE_URL", url.text, password)
	case l.namesDatabase():
		d := dsn{params: map[string]string{}}
		return d, l.fill("DATABASE_URL", &d, password)
	}
	detail := "is not set, and neither are PGHOST and PGDATABASE"
	if l.prefix != "" {
		detail = "is not set"
	}
	l.add("DATABASE_URL", detail, "set it to the address of the database, for example "+
		prefixed(l.prefix, "DATABASE_URL")+"=postgres://app:PASSWORD@localhost:5432/app; see "+readOn)
	return dsn{}, false
}

func (l *loader) optionalDSN(key string, password entry) (dsn, bool) {
	e, ok := l.vars[key]
	if !ok {
		return dsn{}, false
	}
	d, ok := l.parse(key, e.text, password)
	if !ok {
		return dsn{}, false
	}
	l.translateDSN(key, &d)
	return d, true
}

// replicaSeparator is a comma or white space before the next scheme: a URL may have commas of its
// own.
var replicaSeparator = regexp.MustCompile(`[,\s]+(?:[a-z0-9+]+://)`)

func (l *loader) replicaDSNs(password entry) []dsn {
	const key = "DATABASE_REPLICA_URLS"
	rest := strings.Trim(l.vars[key].text, ", \t\n")
	var all []dsn
	for rest != "" {
		url := rest
		if at := replicaSeparator.FindStringIndex(rest); at != nil {
			url = rest[:at[0]]
		}
		rest = strings.TrimLeft(rest[len(url):], ", \t\n")
		if d, ok := l.parse(key, url, password); ok {
			l.translateDSN(key, &d)
			all = append(all, d)
		}
	}
	return all
}

// parse takes a connection string apart and completes it.
func (l *loader) parse(key, text string, password entry) (dsn, bool) {
	d, found, certain := parseDSN(text)
	if !certain {
		for _, f := range found {
			l.add(key, f.detail, f.hint)
		}
		return d, false
	}
	notes, more := d.applyPrisma()
	for _, f := range append(found, more...) {
		l.add(key, f.detail, f.hint)
	}
	l.note(key, notes...)
	for name, why := range ignoredParams {
		if _, ok := d.params[name]; ok {
			delete(d.params, name)
			l.note(key, name+" is left out: "+why)
		}
	}
	if d.password != "" && password.text != "" && key != "DIRECT_DATABASE_URL" && key != "DATABASE_REPLICA_URLS" {
		l.add(key, "has a password, and DATABASE_PASSWORD_FILE is set too", "take the password out of one of them")
	}
	return d, l.fill(key, &d, password)
}

// translateDSN moves parameters that stand for variables out of d. Only the main connection
// string's count.
func (l *loader) translateDSN(key string, d *dsn) map[string]entry {
	translated, found := d.translate()
	for _, f := range found {
		if variable := l.origin(f.param, f.value); variable != "" {
			l.add(variable, f.reason, "correct it, or use "+prefixed(l.prefix, f.variable))
			continue
		}
		l.add(key, "has the parameter "+f.param+", which "+f.reason, "correct it, or use "+prefixed(l.prefix, f.variable))
	}
	for name, e := range translated {
		if set, ok := l.vars[name]; ok && key == "DATABASE_URL" && set.text != e.text {
			l.note(name, "wins over "+e.source+" in "+prefixed(l.prefix, key))
		}
		e.source = e.source + " in " + prefixed(l.prefix, key)
		translated[name] = e
	}
	return translated
}

// origin returns the PG* variable that a parameter with that value came from, or "".
func (l *loader) origin(param, value string) string {
	variable := connectionParams[param]
	if e, ok := l.vars[variable]; ok && e.text == value {
		return variable
	}
	return ""
}

func (l *loader) note(key string, notes ...string) {
	if len(notes) > 0 {
		l.notes[key] = append(l.notes[key], notes...)
	}
}
