package pghealth

import (
	"context"

	"github.com/page-builder/persistence/pgerr"
)

// DefaultWarnConnections leaves a tenth of the server's connections for a rollout, which runs old
// and new instances at the same time, and for whoever comes to repair something.
const DefaultWarnConnections = 0.9

// connectionBudget counts client backends. Walsenders and workers have slots of their own. A role
// without pg_read_all_stats sees no backend_type of others; autovacuum's workers have no user then,
// and parallel workers count.
const connectionBudget = `select current_setting('max_connections')::int,
	current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections', true)::int, 0),
	count(*) filter (where backend_type = 'client backend' or (backend_type is null and usesysid is not null and datid is not null))
	from pg_stat_activity`

// measureConnections compares the connections of all clients of the server with those that it has
// for ordinary roles.
func (p *Probe) measureConnections(ctx context.Context) observation {
	row, err := p.ask(ctx, connectionBudget)
	if err != nil {
		return unread(err, "the server's connections could not be counted")
	}
	limit, reserved, used := row[0], row[1], row[2]
	seen := observation{status: pass}.of(used, "connections", map[string]int64{
		"max": int64(limit), "reserved": int64(reserved), "free": int64(max(limit-reserved-used, 0)),
	})
	if used >= p.opts.WarnConnections*(limit-reserved) {
		seen.status, seen.category = warn, pgerr.TooManyConnections
		seen.output = "the server has few connection slots left"
	}
	return seen
}
