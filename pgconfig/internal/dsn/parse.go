package dsn

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is something wrong with a connection string. It quotes nothing that may be part of a
// password. Each place that does quote says why that is safe.
type Problem struct {
	// Param is the parameter that is wrong, or "" if the string as a whole is.
	Param string
	// Detail says what is wrong, as a phrase that reads on from Param, or from the name of the
	// variable if Param is empty.
	Detail string
	// Hint says what to do. It may be empty.
	Hint string
}

// noSuchValue is the Detail of a value that is none of the known ones.
const noSuchValue = "has a value that does not exist"

// Sentence returns a phrase that follows the name of the variable with the connection string.
func (p Problem) Sentence() string {
	if p.Detail == noSuchValue {
		return "has a value for " + p.Param + " that does not exist"
	}
	switch p.Param {
	case "":
		return p.Detail
	case "host", "port", "user", "password":
		return "has a " + p.Param + " that " + p.Detail
	case "dbname":
		return "has a database name that " + p.Detail
	}
	return "has the parameter " + p.Param + ", which " + p.Detail
}

// Parse parses a connection string. It does not use pgx's parser, which accepts
// postgres://user:p@ss/word@host/db and connects to host ss, and which quotes its input in errors.
// Every string that Parse accepts means the same to pgx and libpq.
//
// If there are problems, the DSN holds the parts that are certain. It has no Params if the parts
// cannot be told apart; then no part of the string may be shown.
func Parse(text string) (DSN, []Problem) {
	text = strings.TrimSpace(text)
	if p, bad := findForeign(text); bad {
		return DSN{}, []Problem{p}
	}
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			return parseURL(rest)
		}
	}
	return parseKeywords(text)
}

// Join writes parameters in the keyword=value form, which [Parse] reads.
func Join(params map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b.WriteString(name + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(params[name]) + "' ")
	}
	return strings.TrimSpace(b.String())
}

// parser is one run of Parse.
type parser struct {
	DSN
	problems []Problem
	raw      map[string]string // the parameters as given
	url      bool              // the form, for hints
}

func newParser(url bool) *parser {
	return &parser{
		DSN: DSN{
			Params: map[string]string{}, Settings: map[string]string{}, Limits: map[string]Limit{},
			given: map[string]bool{},
		},
		raw: map[string]string{}, url: url,
	}
}

func (p *parser) add(param, detail, hint string) {
	p.problems = append(p.problems, Problem{Param: param, Detail: detail, Hint: hint})
}

func (p *parser) note(text string) { p.Notes = append(p.Notes, text) }

// stop ends the run because the parts cannot be told apart.
func (p *parser) stop(detail, hint string) (DSN, []Problem) {
	p.add("", detail, hint)
	return DSN{}, p.problems
}

// finish gives every parameter its effect and checks the parts.
func (p *parser) finish() (DSN, []Problem) {
	for name := range p.raw {
		p.given[name] = true
	}
	p.takeParts()
	p.applyParams()
	p.checkHosts()
	for _, part := range []struct {
		param string
		text  *string
	}{
		{"user", &p.User},
		{"dbname", &p.Database},
		{"password", &p.Password},
	} {
		text := *part.text
		if part.param != "password" && (strings.Contains(text, "://") || strings.Contains(text, "password=")) {
			*part.text = part.param // do not show it, but go on to find other problems
			p.add(part.param, "is a connection string, not a name", "put it into DATABASE_URL")
			continue
		}
		if strings.TrimRight(text, "\r\n") != text {
			p.add(part.param, "ends with a line break", "take it off: echo adds one, printf '%s' does not")
		} else if part.param != "password" && hasControl(text) || strings.Contains(text, "\x00") {
			p.add(part.param, "contains a control character", "take it out")
		}
		if shape := placeholder(part.param, text); shape != "" {
			p.add(part.param, "is a placeholder like "+shape, notReplaced)
		}
	}
	if (p.User == "user" || p.User == "username") && p.Password == "password" && len(p.Hosts) > 0 &&
		(p.Hosts[0].Host == "host" || p.Hosts[0].Host == "hostname") {
		p.add("", "is an example, not an address", "put your user, password and host in place of its words")
	}
	return p.DSN, p.problems
}

// takeParts moves parameters such as host and port to the parts of the address that they replace.
func (p *parser) takeParts() {
	take := func(name string, part *string) {
		v, ok := p.raw[name]
		delete(p.raw, name)
		if !ok {
			return
		}
		if *part != "" && *part != v { // empty counts too, as in libpq
			p.note("the parameter " + name + " wins over the part before the parameters")
		}
		*part = v
	}
	take("user", &p.User)
	take("password", &p.Password)
	take("dbname", &p.Database)
	take("database", &p.Database)

	hosts, hasHost := p.raw["host"]
	ports, hasPort := p.raw["port"]
	delete(p.raw, "host")
	delete(p.raw, "port")
	if !hasHost && !hasPort {
		return
	}
	var hostList []string
	portList := p.ports()
	if hasPort {
		if before := strings.Join(portList, ","); before != "" && before != ports {
			p.note("the parameter port wins over the part before the parameters")
		}
		portList = strings.Split(ports, ",")
	}
	if hasHost {
		hostList = strings.Split(hosts, ",")
		if before := p.HostList(); before != "" && before != hosts {
			p.note("the parameter host wins over the part before the parameters")
		}
	} else {
		hostList = strings.Split(p.HostList(), ",")
		if len(p.Hosts) == 0 {
			hostList = make([]string, len(portList))
		}
	}
	paired, ok := pairHosts(hostList, portList)
	if !ok {
		p.add("", "names a different number of hosts and ports", "give one port for all hosts, or one for each")
		return
	}
	p.Hosts = paired
}

func (p *parser) checkHosts() {
	for i, a := range p.Hosts {
		p.Hosts[i].Host = canonicalHost(a.Host)
		if shape := placeholder("host", a.Host); shape != "" {
			p.add("host", "is a placeholder like "+shape, notReplaced)
			continue
		}
		if !validHost(p.Hosts[i].Host) {
			p.Hosts[i].Host = "localhost" // do not show it, but go on to find other problems
			hint := "the port is a setting of its own, and an IPv6 address has no brackets"
			if p.url {
				hint = "an IPv6 address stands in brackets: postgres://user:password@[::1]:5432/database"
			}
			p.add("host", "is not a name or an address", hint)
		}
		if a.Port != "" && !validPort(a.Port) {
			p.Hosts[i].Port = "" // not shown either
			p.add("port", "is not a number from 1 to 65535", "5432 is PostgreSQL's usual port")
		}
	}
}

// validHost accepts a name, an address or the directory of a socket. An empty host gets its default
// later.
func validHost(host string) bool {
	switch {
	case strings.HasPrefix(host, "/"):
		return !hasControl(host)
	case strings.Contains(host, ":"):
		_, err := netip.ParseAddr(host)
		return err == nil
	case host != "" && strings.Trim(host, "0123456789.") == "":
		_, err := netip.ParseAddr(host)
		return err == nil
	}
	return strings.IndexFunc(host, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func hasControl(s string) bool { return strings.IndexFunc(s, unicode.IsControl) >= 0 }
