package pgconfig

import (
	"net/url"
	"regexp"
	"strings"
)

// parseURL parses what follows postgres://. The password ends at the only @, so an @ that is not
// percent-encoded, or a / or ? or # before it, is refused with the corrected form: every parser
// cuts such a URL somewhere else. ok says that it is certain which part is which, whatever else is
// wrong.
func parseURL(rest string) (d dsn, found []finding, ok bool) {
	d.params = map[string]string{}
	at := strings.IndexByte(rest, '@')
	if strings.Count(rest, "@") > 1 || (at >= 0 && strings.ContainsAny(rest[:at], "/?#")) {
		return d, []finding{unescaped(rest)}, false
	}

	if strings.Contains(rest, " ") {
		found = append(found, finding{"contains a space", "take it out, or write it as %20"})
		return d, found, false
	}
	decode := func(part, text string) string {
		s, err := url.PathUnescape(text)
		if err != nil || strings.Contains(s, "\x00") { // the error quotes the text
			found = append(found, finding{
				"has a % in the " + part + " that is not followed by two hexadecimal digits",
				"write % as %25",
			})
			return ""
		}
		return s
	}
	if at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		d.user, d.password = decode("user", user), decode("password", password)
		rest = rest[at+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(authority+path+query, "#") {
		found = append(found, finding{"contains a #", "write # as %23"})
		return d, found, false
	}
	if strings.ContainsAny(path, "/:") {
		// Not shown: with a / in a password it is a piece of that.
		found = append(found, finding{
			"has a database name with a / or : in it",
			"if that is a piece of the password, percent-encode it: / is %2F, : is %3A, @ is %40",
		})
		return d, found, false
	}
	d.database = decode("database name", path)
	if authority != "" {
		hosts, ok := splitHosts(authority)
		if !ok {
			found = append(found, finding{
				"has a host that is not a name or an address",
				"an IPv6 address stands in brackets: postgres://user:password@[::1]:5432/database",
			})
		}
		for i := range hosts {
			hosts[i].host = decode("host", hosts[i].host)
		}
		d.hosts = hosts
	}
	secretSeen := false
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, ok := strings.Cut(pair, "=")
		name := decode("parameters", rawName)
		if !ok {
			found = append(found, finding{"has a parameter without a value", "write name=value, joined by &; write an & inside a value as %26"})
			continue
		}
		// An unescaped & in password=a&b=c makes a piece of it look like a name: nothing after a
		// secret is shown.
		if f, bad := checkParam(name, secretSeen); bad {
			found = append(found, f)
		}
		secretSeen = secretSeen || isSecretParam(name)
		d.params[name] = decode("parameters", rawValue)
	}
	if d.params["ssl"] == "true" { // JDBC's and libpq's alias
		delete(d.params, "ssl")
		if d.params["sslmode"] == "" {
			d.params["sslmode"] = "require"
		}
	}
	return d, append(found, d.normalize()...), true
}

// splitHosts splits host[:port][,host[:port]]… with IPv6 addresses in brackets.
func splitHosts(authority string) ([]address, bool) {
	var hosts []address
	for part := range strings.SplitSeq(authority, ",") {
		var a address
		if rest, ok := strings.CutPrefix(part, "["); ok {
			host, after, closed := strings.Cut(rest, "]")
			if !closed || (after != "" && after[0] != ':') {
				return nil, false
			}
			a = address{host: host, port: strings.TrimPrefix(after, ":")}
		} else {
			a.host, a.port, _ = strings.Cut(part, ":")
		}
		hosts = append(hosts, a)
	}
	return hosts, true
}

var (
	plainUser = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,63}$`)
	plainTail = regexp.MustCompile(`^[A-Za-z0-9._,:\[\]-]+/[A-Za-z0-9._-]+(\?|$)`)
)

// unescaped explains an @, /, ? or # in a password and shows the corrected form. After the last @
// stands the host, which is shown if it looks like one and a database follows; the parameters are
// not, nor anything between the first : and that @.
func unescaped(rest string) finding {
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
	// Without a user, or after password= among the parameters, what follows the last @ may be a
	// piece of the password.
	if hasPassword && !strings.Contains(userinfo, "password=") && plainTail.MatchString(tail) {
		shown, _, _ = strings.Cut(tail, "?")
		if strings.Contains(tail, "?") {
			shown += "?…"
		}
	}
	return finding{
		"has a special character in the password (or elsewhere) that is not percent-encoded",
		"write " + strings.Join(fixes, ", ") + ", so that it reads postgres://" + escape(user) + ":" + Redacted + "@" + shown,
	}
}
