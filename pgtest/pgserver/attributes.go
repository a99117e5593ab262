package pgserver

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// ReadAttributes returns the statements that give the database copy what CREATE DATABASE does not
// copy from the database template: its settings, the settings of roles in it, the rights on it, its
// connection limit, and its comment.
func ReadAttributes(ctx context.Context, conn *pgx.Conn, template, copy string) ([]string, error) {
	// Lists of names are kept quoted, as SET wants them; pg_dump knows the same names.
	rows, err := conn.Query(ctx, `
		with d as (select * from pg_database where datname = $1),
		settings as (
			select r.rolname, split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value
			from pg_db_role_setting s join d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole,
				unnest(s.setconfig) c
		)
		select case when rolname is null then format('alter database %I', $2::text)
				else format('alter role %I in database %I', rolname, $2::text) end
			|| format(case when name in ('local_preload_libraries', 'search_path', 'session_preload_libraries',
				'temp_tablespaces') and value <> '' then ' set %I to %s' else ' set %I to %L' end, name, value)
			from settings
		union all select format('alter database %I connection limit %s', $2::text, datconnlimit) from d
			where datconnlimit <> -1
		union all select format('revoke all on database %I from public, %I', $2::text, rolname)
			from d join pg_roles r on r.oid = datdba where datacl is not null
		union all select format('grant %s on database %I to %s%s', privilege_type, $2::text,
				case when grantee = 0 then 'public' else quote_ident(r.rolname) end,
				case when is_grantable then ' with grant option' else '' end)
			from d, aclexplode(datacl) left join pg_roles r on r.oid = grantee
		union all select format('comment on database %I is %L', $2::text, shobj_description(oid, 'pg_database'))
			from d where shobj_description(oid, 'pg_database') is not null`, template, copy)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
