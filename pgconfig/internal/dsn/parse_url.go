package dsn

import (
	"net/url"
	"regexp"
	"strings"
)

const form = "the form is postgres://user:password@host:5432/database"

// parseURL parses the text after postgres://. The password ends at the only @. It refuses an @ that
// is not percent-encoded, or a / or ? or # before it, and shows the corrected form, because each
// parser splits such a URL at a different place.
func parseURL(rest string) (DSN, []Problem) {
	p := newParser(true)
	if hasControl(rest) {
		return p.stop("contains a line break or another control character", "write it on one line")
	}
	at := strings.IndexByte(rest, '@')
	if strings.Count(rest, "@") > 1 || (at >= 0 && strings.ContainsAny(rest[:at], "/?#")) {
		unescaped := explainUnescaped(rest)
		return p.stop(unescaped.Detail, unescaped.Hint)
	}
	if strings.Contains(rest, " ") {
		return p.stop("contains a space", "take it out, or write it as %20")
	}

	hasUser := at >= 0
	if hasUser {
		user, password, _ := strings.Cut(rest[:at], ":")
		p.User, p.Password = p.decode("user", user), p.decode("password", password)
		if strings.Contains(password, "+") && strings.Contains(password, "%") {
			p.note("the password has a + and a %: a + stands for itself, so write a space as %20")
		}
		rest = rest[at+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(authority+path+query, "#") {
		return p.stop("contains a #", "write # as %23")
	}
	if strings.ContainsAny(path, "/:") {
		// Do not show it: if the password has a /, this is part of the password.
		return p.stop("has a database name with a / or : in it",
			"if that is a piece of the password, percent-encode it: / is %2F, : is %3A, @ is %40")
	}
	p.Database = p.decode("database name", path)
	if authority != "" {
		if shape := placeholder("host", authority); shape != "" {
			return p.stop("has a host that is a placeholder like "+shape, notReplaced)
		}
		if !p.splitHosts(authority) {
			return p.stop("has a host that is not a name or an address",
				"an IPv6 address stands in brackets: postgres://user:password@[::1]:5432/database")
		}
		// Without an @, what looks like hosts and ports may be a user and a password.
		if !hasUser && strings.Contains(authority, ",") && strings.Contains(authority, ":") &&
			!strings.Contains(query, "user=") {
			return p.stop("has several hosts with a port and no user",
				"write postgres://user@host:5432,host:5432/database")
		}
		for _, a := range p.Hosts {
			if !hasUser && a.Port != "" && !validPort(a.Port) {
				return p.stop("has a port that is not a number from 1 to 65535", form)
			}
		}
	}
	p.splitQuery(query)
	return p.finish()
}

// decode percent-decodes a part. The error of net/url would quote the text.
func (p *parser) decode(part, text string) string {
	s, err := url.PathUnescape(text)
	if strings.Contains(s, "\x00") {
		p.add("", "has a NUL character (%00) in the "+part, "take it out: PostgreSQL has none")
		return ""
	}
	if err != nil {
		p.add("", "has a % in the "+part+" that is not followed by two hexadecimal digits", "write % as %25")
		return ""
	}
	return s
}

func (p *parser) splitQuery(query string) {
	secretSeen := false
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, ok := strings.Cut(pair, "=")
		name := p.decode("parameters", rawName)
		if !ok {
			p.add("", "has a parameter without a value",
				"write name=value, joined by &; write an & inside a value as %26")
			continue
		}
		// An unescaped & in password=a&b=c makes part of it look like a name. Show nothing after a
		// secret.
		if p.checkName(name, !secretSeen) {
			if name == "options" && (strings.Contains(rawValue, "-c+") || strings.Contains(rawValue, "+-")) {
				p.add("options", "has a + where a space should be", "write a space as %20")
				continue
			}
			if !IsSecret(name) && strings.Contains(rawValue, "+") {
				p.note("the + in " + name + " stands for itself: write a space as %20")
			}
			p.raw[name] = p.decode("parameters", rawValue)
		}
		secretSeen = secretSeen || IsSecret(name)
	}
}

// splitHosts splits host[:port][,host[:port]]… with IPv6 addresses in brackets.
func (p *parser) splitHosts(authority string) bool {
	for part := range strings.SplitSeq(authority, ",") {
		var a Address
		if rest, ok := strings.CutPrefix(part, "["); ok {
			host, after, closed := strings.Cut(rest, "]")
			if !closed || (after != "" && after[0] != ':') {
				return false
			}
			a = Address{Host: host, Port: strings.TrimPrefix(after, ":")}
		} else {
			a.Host, a.Port, _ = strings.Cut(part, ":")
			if strings.Contains(a.Port, ":") {
				return false
			}
		}
		a.Host = p.decode("host", a.Host)
		p.Hosts = append(p.Hosts, a)
	}
	return true
}

var (
	plainUser = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,63}$`)
	plainTail = regexp.MustCompile(`^[A-Za-z0-9._,:\[\]-]+/[A-Za-z0-9._-]+(\?|$)`)
)

// explainUnescaped explains an @, /, ? or # in a password and shows the corrected form. It shows
// the host after the last @ if it looks like one and a database follows. It shows neither the
// parameters nor anything between the first : and that @.
func explainUnescaped(rest string) Problem {
	last := strings.LastIndexByte(rest, '@')
	userinfo, tail := rest[:last], rest[last+1:]
	user, password, hasPassword := strings.Cut(userinfo, ":")
	if !hasPassword {
		user, password = "user", userinfo
	}

	var fixes []string
	for _, c := range []string{"@", "/", "?", "#"} {
		if strings.Contains(password, c) || (hasPassword && strings.Contains(user, c)) {
			fixes = append(fixes, c+" as "+escape(c))
		}
	}
	if !plainUser.MatchString(user) {
		user = "user"
	}
	shown := "host:5432/database"
	// Without a user, or with password= among the parameters, the text after the last @ may be part
	// of the password.
	if hasPassword && !strings.Contains(userinfo, "password=") && plainTail.MatchString(tail) {
		shown, _, _ = strings.Cut(tail, "?")
		if strings.Contains(tail, "?") {
			shown += "?…"
		}
	}
	return Problem{
		Detail: "has a special character in the password (or elsewhere) that is not percent-encoded",
		Hint: "write " + strings.Join(fixes, ", ") + ", so that it reads postgres://" + escape(user) + ":" +
			Redacted + "@" + shown,
	}
}
