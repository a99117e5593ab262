package dsn

import (
	"maps"
	"slices"
	"strings"
)

// Fill copies the parts that d lacks from another DSN, and returns their names. ok is false if the
// other one's ports do not fit d's hosts.
func (d *DSN) Fill(from DSN) (taken []string, ok bool) {
	taken, ok = d.fillHosts(from)
	for _, part := range []struct {
		name     string
		at, from *string
	}{
		{"database", &d.Database, &from.Database},
		{"user", &d.User, &from.User},
		{"password", &d.Password, &from.Password},
	} {
		if *part.at == "" && *part.from != "" {
			*part.at = *part.from
			taken = append(taken, part.name)
		}
	}
	taken = append(taken, fillMap(&d.Params, from.Params)...)
	taken = append(taken, fillMap(&d.Settings, from.Settings)...)
	taken = append(taken, fillMap(&d.Limits, from.Limits)...)
	fillMap(&d.given, from.given)
	if len(d.Flags) == 0 && len(from.Flags) > 0 {
		d.Flags = slices.Clone(from.Flags)
		taken = append(taken, "options")
	}
	return taken, ok
}

func (d *DSN) fillHosts(from DSN) (taken []string, ok bool) {
	hosts, ports := strings.Split(from.HostList(), ","), from.ports()
	switch {
	case !d.namesHost() && from.namesHost():
		taken = append(taken, "host")
		if own := d.ports(); own != nil {
			ports = own
		} else if ports != nil {
			taken = append(taken, "port")
		}
		d.Hosts, ok = pairHosts(hosts, ports)
		return taken, ok
	case ports == nil, d.ports() != nil: // a gap in a list of ports means 5432, as in libpq
		return nil, true
	case len(d.Hosts) == 0:
		d.Hosts = slices.Clone(from.Hosts)
		return []string{"port"}, true
	}
	paired, ok := pairHosts(make([]string, len(d.Hosts)), ports)
	if !ok {
		return nil, false
	}
	for i, a := range paired {
		d.Hosts[i].Port = a.Port
	}
	return []string{"port"}, true
}

// Names reports whether d has a parameter. As in libpq, an empty value counts.
func (d DSN) Names(param string) bool {
	own := map[string]bool{
		"host": d.namesHost(), "port": d.ports() != nil, "user": d.User != "", "password": d.Password != "",
		"dbname": d.Database != "" || d.given["database"],
	}
	return own[param] || d.given[param] || d.Params[param] != ""
}

func (d *DSN) namesHost() bool { return strings.Trim(d.HostList(), ",") != "" }

// ports returns the ports: a single one if they are all the same, or nil if there are none.
func (d *DSN) ports() []string {
	ports := strings.Split(d.PortList(), ",")
	if strings.Trim(d.PortList(), ",") == "" {
		return nil
	}
	if same := slices.Compact(slices.Clone(ports)); len(same) == 1 {
		return same
	}
	return ports
}

func fillMap[V any](to *map[string]V, from map[string]V) (taken []string) {
	if *to == nil {
		*to = map[string]V{}
	}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if _, set := (*to)[name]; !set {
			(*to)[name] = from[name]
			taken = append(taken, name)
		}
	}
	return taken
}
