package pgmigrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// inspect checks the connection and this package's tables before anything is written, in one round
// trip. A pooler may drop the settings that it was given instead of refusing them. The owner of a
// table may have created triggers on it, which would run with the rights of this role.
func (r *run) inspect(ctx context.Context) error {
	var milliseconds int64
	var untrusted, owner, user string
	s := &r.m.settings
	versionSchema, versionTable, _ := strings.Cut(s.versionTable, ".")
	err := r.conn.QueryRow(ctx, `
with ours as (
  select n.nspname || '.' || c.relname as name, c.relowner as owner
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind <> 'i' and (n.nspname = $3
    or n.nspname = $1 and c.relname = $2)
  union all
  select 'schema ' || nspname, nspowner from pg_catalog.pg_namespace where nspname = $3
), untrusted as (
  select ours.name, o.rolname
  from ours join pg_catalog.pg_roles o on o.oid = ours.owner join pg_catalog.pg_roles u on u.rolname = session_user
  where o.rolname <> current_user and not pg_catalog.pg_has_role(o.oid, u.oid, 'member')
    and (u.rolsuper or not pg_catalog.pg_has_role(u.oid, o.oid, 'member'))
    and o.oid <> (select datdba from pg_catalog.pg_database where datname = pg_catalog.current_database())
  limit 1
)
select setting::bigint, session_user, coalesce((select name from untrusted), ''),
  coalesce((select rolname from untrusted), '')
from pg_catalog.pg_settings where name = 'lock_timeout'`, pgx.QueryExecModeExec, versionSchema, versionTable,
		s.historySchema).Scan(&milliseconds, &user, &untrusted, &owner)
	switch {
	case err != nil:
		return fmt.Errorf("check connection: %w", err)
	case milliseconds != s.lockTimeout.Milliseconds():
		return fmt.Errorf("check connection: %w: the server does not use the lock_timeout that was set", ErrPooled)
	case untrusted != "":
		return fmt.Errorf("check %s: its owner is the role %q, whose triggers would run with the rights of %q: make "+
			"%q its owner, or migrate as %q", untrusted, owner, user, user, owner)
	}
	return nil
}
