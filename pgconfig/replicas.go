package pgconfig

import (
	"maps"
	"strings"
)

// Replicas returns a Config for each of DATABASE_REPLICA_URLS, in their order. Its URL, PoolConfig
// and SecretFile are the replica's. Its fields and IsSet are c's, except for parameters in the
// replica's URL, such as pool_max_conns.
func (c Config) Replicas() []Config {
	r := c.state()
	if r == nil {
		return nil
	}
	var all []Config
	for _, d := range r.replicas {
		replica, own := c.override(d), *r
		own.main, own.direct, own.hasDirect, own.replicas = d, d, false, nil
		own.sources, own.values = maps.Clone(r.sources), maps.Clone(r.values)
		before := c.values()
		for name, value := range replica.values() {
			if p, said := d.Limits[name]; said {
				own.sources[name], own.values[name] = p.Param+" in "+addPrefix(r.prefix, d.key), value
			} else if value != before[name] { // fewer idle connections, in a smaller pool
				own.values[name] = value
			}
		}
		own.report = own.reportReplica()
		replica.resolved = func() *resolved { return &own }
		all = append(all, replica)
	}
	return all
}

// reportReplica returns the lines of the report that concern a replica, r.main.
func (r *resolved) reportReplica() []Setting {
	var report []Setting
	for _, s := range r.report {
		name := strings.TrimPrefix(s.Key, r.prefix)
		switch {
		case name == "DATABASE_URL":
			s.Value, s.Source, s.Note = r.main.Masked(), addPrefix(r.prefix, r.main.key), ""
		case strings.HasPrefix(name, "DATABASE_URL "), name == "DIRECT_DATABASE_URL", name == "DATABASE_REPLICA_URLS":
			continue // other connections
		}
		if value, ok := r.values[name]; ok {
			s.Value, s.Source = value, r.sources[name]
		}
		report = append(report, s)
	}
	return report
}
