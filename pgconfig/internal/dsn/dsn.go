// Package dsn reads and writes PostgreSQL connection strings.
//
// [Parse] is the only way in. It reads URLs, libpq's keyword=value form, and, through [Join], the
// variables of an environment and the sections of a service file. Everything in the input has an
// effect on the resulting [DSN], a note in it, or a [Problem].
package dsn

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Redacted stands in place of a secret. Its length says nothing about the secret's.
const Redacted = "****"

// DSN is a connection string taken apart.
type DSN struct {
	Hosts    []Address
	User     string
	Password string
	Database string
	// Params are libpq's parameters that pgx understands, and pgx's own.
	Params map[string]string
	// Settings are the server's settings by name in lower case, from parameters and from options.
	Settings map[string]string
	// Flags are the words of options that set nothing, such as Neon's endpoint=….
	Flags []string
	// Limits are parameters that stand for a variable of pgconfig, by the variable's name.
	Limits map[string]Limit
	// Notes say what a person should know about parameters that were translated or left out.
	Notes []string

	given map[string]bool // the parameters by name, also those that are empty or were left out
}

// Limit is a parameter that sets a variable: its name, and its value in the variable's form.
type Limit struct{ Param, Text string }

// Address is a host with its port. Each may be empty, which means the default.
type Address struct{ Host, Port string }

// Clone returns a copy that shares nothing with d.
func (d DSN) Clone() DSN {
	d.Hosts, d.Flags, d.Notes = slices.Clone(d.Hosts), slices.Clone(d.Flags), slices.Clone(d.Notes)
	d.Params, d.Settings, d.Limits = maps.Clone(d.Params), maps.Clone(d.Settings), maps.Clone(d.Limits)
	d.given = maps.Clone(d.given)
	return d
}

// URL returns the URL that means the same to libpq and pgx. Settings of the server become options,
// because libpq refuses them as parameters. pgx's own parameters and the limits are left out.
func (d DSN) URL() string { return d.write(false) }

// Masked returns the URL for a person to read, including pgx's own parameters. Secrets are masked,
// and so are the values of settings that are not the server's own.
func (d DSN) Masked() string { return d.write(true) }

func (d DSN) write(masked bool) string {
	secret := func(s string) string {
		if masked {
			return Redacted
		}
		return escape(s)
	}
	var b strings.Builder
	b.WriteString("postgres://")
	if d.User != "" || d.Password != "" {
		b.WriteString(escape(d.User))
		if d.Password != "" {
			b.WriteString(":" + secret(d.Password))
		}
		b.WriteByte('@')
	}
	var query []string
	if d.OnSocket() {
		// The authority cannot hold a path, so libpq takes it as a parameter.
		query = append(query, "host="+escapeValue(d.HostList()), "port="+escapeValue(d.PortList()))
	} else {
		b.WriteString(d.join(func(a Address) string {
			if strings.Contains(a.Host, ":") {
				return "[" + strings.ReplaceAll(escape(a.Host), "%3A", ":") + "]:" + a.Port
			}
			return escape(a.Host) + ":" + a.Port
		}))
	}
	b.WriteString("/" + escape(d.Database))

	params := maps.Clone(d.Params)
	if masked {
		d = d.MaskSettings()
	}
	if options := d.Options(); options != "" {
		params["options"] = options
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch {
		case IsSecret(name):
			query = append(query, name+"="+secret(params[name]))
		case masked || !IsPgx(name):
			query = append(query, name+"="+escapeValue(params[name]))
		}
	}
	if len(query) > 0 {
		b.WriteString("?" + strings.Join(query, "&"))
	}
	return b.String()
}

// MaskSettings returns a copy with the settings of programs and extensions masked. Their names have
// a dot, and their values may be keys.
func (d DSN) MaskSettings() DSN {
	d = d.Clone()
	for name := range d.Settings {
		if strings.Contains(name, ".") {
			d.Settings[name] = Redacted
		}
	}
	return d
}

// HostList returns the hosts as libpq's parameter host has them.
func (d DSN) HostList() string { return d.join(func(a Address) string { return a.Host }) }

// PortList returns the ports as libpq's parameter port has them.
func (d DSN) PortList() string { return d.join(func(a Address) string { return a.Port }) }

func (d DSN) join(part func(Address) string) string {
	parts := make([]string, len(d.Hosts))
	for i, a := range d.Hosts {
		parts[i] = part(a)
	}
	return strings.Join(parts, ",")
}

// OnSocket reports whether a host is the directory of a Unix socket.
func (d DSN) OnSocket() bool {
	return slices.ContainsFunc(d.Hosts, func(a Address) bool { return strings.HasPrefix(a.Host, "/") })
}

// Local reports whether every host is this machine. Without a host it is false.
func (d DSN) Local() bool {
	return len(d.Hosts) > 0 && !slices.ContainsFunc(d.Hosts, func(a Address) bool { return !a.Local() })
}

// RemoteHosts names the hosts that are not this machine.
func (d DSN) RemoteHosts() []string {
	var names []string
	for _, a := range d.Hosts {
		if !a.Local() && a.Host != "" {
			names = append(names, a.Host)
		}
	}
	return names
}

// Local reports whether the host is this machine: a socket, localhost, a loopback address, or the
// unspecified address, which leads to this machine too.
func (a Address) Local() bool {
	if strings.HasPrefix(a.Host, "/") || strings.EqualFold(strings.TrimSuffix(a.Host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.Unmap().IsUnspecified())
}

// pairHosts pairs hosts with ports as libpq does. A single port is for all hosts; otherwise each
// host has its own.
func pairHosts(hosts, ports []string) ([]Address, bool) {
	if len(ports) > 1 && len(ports) != len(hosts) {
		return nil, false
	}
	all := make([]Address, len(hosts))
	for i, h := range hosts {
		all[i].Host = h
		if len(ports) > 0 {
			all[i].Port = ports[min(i, len(ports)-1)]
		}
	}
	return all, true
}

// canonicalHost expands an address with fewer than four numbers, such as 127.1, as inet_aton(3) and
// therefore libpq reads it. Go's resolver would look it up in the DNS.
func canonicalHost(host string) string {
	if strings.Trim(host, "0123456789.") != "" {
		return host
	}
	parts := strings.Split(host, ".")
	var sum uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 0, 32) // 0: a leading zero means octal
		last := i == len(parts)-1
		if err != nil || len(parts) > 4 || (!last && n > 255) || (last && n >= 1<<(8*(5-len(parts)))) {
			return host
		}
		if last {
			sum += n
		} else {
			sum += n << (8 * (3 - i))
		}
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}).String()
}

// escape percent-encodes everything but letters, digits and -._~, so that no parser can mistake one
// part for another.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// escapeValue leaves the slashes of paths readable.
func escapeValue(s string) string { return strings.ReplaceAll(escape(s), "%2F", "/") }

// IsSecret reports whether the value of a parameter must not be shown.
func IsSecret(param string) bool { return param == "password" || param == "sslpassword" }
