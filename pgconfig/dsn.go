package pgconfig

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
)

// dsn is a connection string taken apart. Its parameters are named as in libpq.
type dsn struct {
	hosts    []address
	user     string
	password string
	database string
	params   map[string]string
}

// address is a host with its port. Both may be empty: the default.
type address struct{ host, port string }

func (d dsn) clone() dsn {
	d.hosts = slices.Clone(d.hosts)
	d.params = maps.Clone(d.params)
	return d
}

// url returns the canonical URL. The password is percent-encoded, or masked.
func (d dsn) url(masked bool) string {
	var b strings.Builder
	b.WriteString("postgres://")
	if d.user != "" || d.password != "" {
		b.WriteString(escape(d.user))
		if d.password != "" {
			b.WriteByte(':')
			if masked {
				b.WriteString(Redacted)
			} else {
				b.WriteString(escape(d.password))
			}
		}
		b.WriteByte('@')
	}
	query := make([]string, 0, len(d.params)+2)
	if d.onSocket() {
		// A path cannot stand in the authority: libpq's form for it is a parameter.
		query = append(query, "host="+strings.ReplaceAll(escape(d.join(func(a address) string { return a.host })), "%2F", "/"),
			"port="+escape(d.join(func(a address) string { return a.port })))
	} else {
		b.WriteString(d.join(func(a address) string {
			host := a.host
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			} else {
				host = escape(host)
			}
			return host + ":" + a.port
		}))
	}
	b.WriteByte('/')
	b.WriteString(escape(d.database))

	for _, name := range slices.Sorted(maps.Keys(d.params)) {
		value := d.params[name]
		if masked && isSecretParam(name) {
			query = append(query, escape(name)+"="+Redacted)
			continue
		}
		query = append(query, escape(name)+"="+strings.ReplaceAll(escape(value), "%2F", "/"))
	}
	if len(query) > 0 {
		b.WriteByte('?')
		b.WriteString(strings.Join(query, "&"))
	}
	return b.String()
}

func (d dsn) onSocket() bool {
	return slices.ContainsFunc(d.hosts, func(a address) bool { return strings.HasPrefix(a.host, "/") })
}

func (d dsn) join(part func(address) string) string {
	parts := make([]string, len(d.hosts))
	for i, a := range d.hosts {
		parts[i] = part(a)
	}
	return strings.Join(parts, ",")
}

// local reports whether every host is this machine. No host at all is not.
func (d dsn) local() bool {
	return len(d.hosts) > 0 && !slices.ContainsFunc(d.hosts, func(a address) bool { return !a.local() })
}

func (a address) local() bool {
	if strings.HasPrefix(a.host, "/") || a.host == "localhost" {
		return true
	}
	ip := net.ParseIP(a.host)
	return ip != nil && ip.IsLoopback()
}

// remoteHosts names the hosts that are not this machine, for a message.
func (d dsn) remoteHosts() string {
	var names []string
	for _, a := range d.hosts {
		if !a.local() {
			names = append(names, a.host)
		}
	}
	return strings.Join(names, ", ")
}

// escape percent-encodes everything but letters, digits and -._~, so that no parser can take a part
// for another.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func isSecretParam(name string) bool { return name == "password" || name == "sslpassword" }

// setHosts pairs hosts with ports as libpq does: one port is for all hosts, otherwise there is one
// for each.
func (d *dsn) setHosts(hosts, ports []string) bool {
	if len(ports) > 1 && len(ports) != len(hosts) {
		return false
	}
	d.hosts = make([]address, len(hosts))
	for i, h := range hosts {
		d.hosts[i].host = h
		switch len(ports) {
		case 0:
		case 1:
			d.hosts[i].port = ports[0]
		default:
			d.hosts[i].port = ports[i]
		}
	}
	return true
}
