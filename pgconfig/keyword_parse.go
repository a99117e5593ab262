package pgconfig

import "strings"

// parseKeywords parses libpq's keyword=value form: host=db user=app password='two words'. In quotes
// and out of them a backslash takes the next character literally.
func parseKeywords(text string) (d dsn, found []finding, ok bool) {
	d.params = map[string]string{}
	broken := func(detail string) (dsn, []finding, bool) {
		return d, []finding{{detail, "write postgres://user:password@host:5432/database, or host=… user=… dbname=…; " +
			"a value with spaces stands in single quotes"}}, false
	}
	// The name of an unknown keyword is shown only between known ones and before any secret: the
	// whole text may be a password with a = in it.
	mayShow := false
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.TrimRight(name, " \t")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return broken("is neither a URL nor libpq's keyword=value form")
		}
		value, remaining, ok := keywordValue(strings.TrimLeft(after, " \t"))
		if !ok {
			return broken("has a quotation mark that is not closed")
		}
		rest = remaining
		f, bad := checkParam(name, !mayShow)
		if bad {
			found = append(found, f)
		}
		mayShow = !bad && !isSecretParam(name) && d.params["password"] == "" && d.params["sslpassword"] == ""
		if name == "user" && value == "" {
			continue // as pgx: not given
		}
		d.params[name] = value
	}
	return d, append(found, d.normalize()...), true
}

func keywordValue(s string) (value, rest string, ok bool) {
	end := " \t"
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s, end = s[1:], "'"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case strings.IndexByte(end, s[i]) >= 0:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "", !quoted
}

// quoteKeyword writes a value for the keyword=value form.
func quoteKeyword(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
