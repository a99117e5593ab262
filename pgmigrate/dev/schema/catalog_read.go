package schema

import (
	"context"

	"github.com/jackc/pgx/v5"
)

func (c *catalog) read(ctx context.Context, conn *pgx.Conn) error {
	err := each(ctx, conn, `select c.oid, format('%I.%I', nspname, relname), relkind::text, relispartition,
			coalesce(pg_get_partkeydef(c.oid), ''), reloftype,
			coalesce((select array_agg(inhparent order by inhseqno) from pg_inherits
				where inhrelid = c.oid), '{}')::oid[],
			relispopulated, coalesce(indrelid, 0)::oid
		from pg_class c join pg_namespace n on n.oid = relnamespace left join pg_index on indexrelid = c.oid
		where c.oid >= `+fromUser+` and relkind <> 't'`, func(row pgx.CollectableRow) error {
		var r relation
		err := row.Scan(&r.OID, &r.Name, &r.Kind, &r.Partition, &r.Key, &r.Type, &r.Parents,
			&r.Populated, &r.IndexOf)
		c.relations[r.OID] = &r
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, conn, `select attrelid, attnum, quote_ident(attname), format_type(atttypid, atttypmod), atttypid,
			atttypmod,
			case when attcollation <> typcollation and collname is not null then format('%I.%I', nspname, collname)
				else '' end,
			attnotnull, attidentity::text, attgenerated::text, coalesce(pg_get_expr(adbin, adrelid), ''),
			coalesce(d.oid, 0)::oid, attislocal, attinhcount, attstorage::text, typstorage::text
		from pg_attribute a join pg_class c on c.oid = attrelid join pg_type t on t.oid = atttypid
			left join pg_attrdef d on adrelid = attrelid and adnum = attnum
			left join pg_collation l on l.oid = attcollation left join pg_namespace n on n.oid = collnamespace
		where attrelid >= `+fromUser+` and attnum > 0 and not attisdropped
			and relkind in ('r', 'p', 'f', 'v', 'm', 'c')
		order by attrelid, attnum`, func(row pgx.CollectableRow) error {
		var a column
		err := row.Scan(&a.Relation, &a.Number, &a.Name, &a.Type, &a.TypeOID, &a.Modifier, &a.Collation, &a.NotNull,
			&a.Identity, &a.Generated, &a.Default, &a.DefaultOID, &a.Local, &a.Inherited, &a.Storage, &a.TypeStorage)
		c.columns[a.Relation] = append(c.columns[a.Relation], &a)
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, conn, `select k.oid, quote_ident(conname), contype::text, conrelid, contypid, conindid,
			pg_get_constraintdef(k.oid), case when contype in ('p', 'u') then pg_get_indexdef(conindid) else '' end,
			convalidated, conislocal, coninhcount, conparentid, confrelid,
			coalesce(conkey, '{}'), coalesce(confkey, '{}'),
			coalesce(relkind = 'p', false)
		from pg_constraint k left join pg_class c on c.oid = conrelid
		where k.oid >= `+fromUser+` order by conname`, func(row pgx.CollectableRow) error {
		var k constraint
		err := row.Scan(&k.OID, &k.Name, &k.Kind, &k.Table, &k.Domain, &k.Index, &k.Definition, &k.IndexDefinition,
			&k.Valid, &k.Local, &k.Inherited, &k.Parent, &k.ForeignTable, &k.Columns,
			&k.ForeignColumns, &k.OnPartitioned)
		c.constraints[k.OID] = &k
		if k.Kind == "c" && k.Table != 0 {
			c.checks[k.Table] = append(c.checks[k.Table], &k)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, conn, `select oid,
			pg_get_function_result(oid) || ' ' || prokind::text || coalesce(proargmodes::text, ''),
			pronargdefaults, coalesce(proargnames, '{}')
		from pg_proc where oid >= `+fromUser, func(row pgx.CollectableRow) error {
		var f function
		var head *string
		var defaults int16
		err := row.Scan(&f.OID, &head, &defaults, &f.Names)
		if head != nil {
			f.Head = *head
		}
		f.Defaults = int32(defaults)
		c.functions[f.OID] = &f
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, conn, `select castsource, casttarget, castcontext::text from pg_cast`,
		func(row pgx.CollectableRow) error {
			var pair [2]uint32
			var kind string
			err := row.Scan(&pair[0], &pair[1], &kind)
			c.casts[pair] = kind
			return err
		})
	if err != nil {
		return err
	}
	err = each(ctx, conn, `select t.oid, typrelid, case when typcategory = 'A' then typelem else 0 end::oid,
			typbasetype,
			coalesce(relkind::text, ''), typcategory::text, typtype::text
		from pg_type t left join pg_class c on c.oid = typrelid`, func(row pgx.CollectableRow) error {
		var t typeInfo
		err := row.Scan(&t.OID, &t.Relation, &t.Element, &t.Base, &t.RelationKind, &t.Category, &t.Kind)
		c.types[t.OID] = &t
		return err
	})
	if err != nil {
		return err
	}
	return c.readDependencies(ctx, conn)
}

// readDependencies folds pg_depend: what PostgreSQL makes along with an object counts as that
// object.
func (c *catalog) readDependencies(ctx context.Context, conn *pgx.Conn) error {
	err := each(ctx, conn, `select 'pg_rewrite'::regclass::oid, oid, 'pg_class'::regclass::oid, ev_class
		from pg_rewrite where rulename = '_RETURN' and oid >= `+fromUser+`
		union all select 'pg_type'::regclass, rngmultitypid, 'pg_type'::regclass, rngtypid
		from pg_range where rngtypid >= `+fromUser+`
		union all select classid, objid, refclassid, refobjid from pg_depend where deptype = 'e'`,
		func(row pgx.CollectableRow) error {
			var part, whole node
			err := row.Scan(&part.class, &part.oid, &whole.class, &whole.oid)
			c.folds[part] = whole
			return err
		})
	if err != nil {
		return err
	}
	for _, t := range c.types {
		self := node{class: classType, oid: t.OID}
		switch {
		case t.Element != 0:
			c.folds[self] = node{class: classType, oid: t.Element}
		case t.RelationKind == "c":
			c.folds[node{class: classRelation, oid: t.Relation}] = self
		case t.Relation != 0:
			c.folds[self] = node{class: classRelation, oid: t.Relation}
		}
	}
	for _, k := range c.constraints {
		if k.Index != 0 && (k.Kind == "p" || k.Kind == "u" || k.Kind == "x") {
			c.folds[node{class: classRelation, oid: k.Index}] = node{class: classConstraint, oid: k.OID}
		}
	}
	return each(ctx, conn, `select classid, objid, objsubid, refclassid, refobjid, refobjsubid
		from pg_depend
		where objid >= `+fromUser+` and refobjid >= `+fromUser+` and deptype <> 'e'`,
		func(row pgx.CollectableRow) error {
			var from, on node
			err := row.Scan(&from.class, &from.oid, &from.sub, &on.class, &on.oid, &on.sub)
			from, on = c.fold(from), c.fold(on)
			r := c.relations[from.oid]
			if from.class == classRelation && r != nil && r.Kind == "S" && on.sub != 0 {
				c.owners[r.OID] = append(c.owners[r.OID], on)
			}
			if from.class != on.class || from.oid != on.oid {
				c.dependents[on] = append(c.dependents[on], from)
			}
			return err
		})
}

func each(ctx context.Context, conn *pgx.Conn, sql string, read func(pgx.CollectableRow) error) error {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
