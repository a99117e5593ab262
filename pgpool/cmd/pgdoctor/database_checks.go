package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/page-builder/persistence/pgpool/internal/mask"
)

// databaseCheck is one question to the database.
type databaseCheck struct {
	name string
	run  func(ctx context.Context, tx pgx.Tx) (finding, error)
}

// The thresholds. Where PostgreSQL has a setting for one, the check reads that.
const (
	// connectionsWarn and connectionsBad are shares of the connections for ordinary roles.
	connectionsWarn, connectionsBad = 0.8, 0.95
	// sequenceWarn and sequenceBad are the used shares of a sequence's range.
	sequenceWarn, sequenceBad = 0.75, 0.9
	// transactionAge and idleAge: VACUUM cannot remove rows that a transaction of that age may see.
	transactionAge, idleAge = 5 * time.Minute, time.Minute
	// largeRelation is the size from which a missing or an unused index matters.
	largeRelation = 1 << 20 // bytes
	// deadRows is the number, and deadShare the share of dead rows from which a table is bloated.
	// autovacuum_vacuum_scale_factor is 0.2 by default, so autovacuum keeps tables below that.
	deadRows, deadShare = 10_000, 0.3
	// bloatedRelation is the size, and freeShare the estimated share of free space from which a
	// table is bloated.
	bloatedRelation, freeShare = 10 << 20, 0.5
	// slotWAL is how much log a slot may keep back.
	slotWAL = 1 << 30 // bytes
)

var databaseChecks = []databaseCheck{
	{"connections", checkConnections},
	{"transactions", checkTransactions},
	{"slots", checkSlots},
	{"wraparound", checkWraparound},
	{"sequences", checkSequences},
	{"autovacuum", checkAutovacuum},
	{"bloat", checkBloat},
	{"invalid", checkInvalid},
	{"duplicates", checkDuplicates},
	{"foreign keys", checkForeignKeys},
	{"unused", checkUnused},
	{"statements", checkStatements},
}

// listed makes a finding of the rows of a query with one text column. The summary is none, or the
// number of rows and some.
func listed(
	ctx context.Context, tx pgx.Tx, v verdict, none, some, hint, sql string, args ...any,
) (finding, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return finding{}, err
	}
	details, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(details) == 0 {
		return finding{Verdict: ok, Summary: none}, err
	}
	return finding{Verdict: v, Summary: fmt.Sprintf("%d %s", len(details), some), Details: details, Hint: hint}, nil
}

// unlessHidden changes an ok finding to unknown if the role could not see everything. hiddenSQL
// counts what it could not see.
func unlessHidden(ctx context.Context, tx pgx.Tx, f finding, err error, what, hiddenSQL string) (finding, error) {
	if err != nil || f.Verdict != ok {
		return f, err
	}
	var hidden int
	if err := tx.QueryRow(ctx, hiddenSQL).Scan(&hidden); err != nil {
		return finding{}, err
	}
	if hidden > 0 {
		return finding{
			Verdict: unknown, Summary: fmt.Sprintf("this role may not see %d %s: GRANT pg_monitor", hidden, what),
		}, nil
	}
	return f, nil
}

func checkConnections(ctx context.Context, tx pgx.Tx) (finding, error) {
	var used, available int64
	err := tx.QueryRow(ctx, `select count(*) filter (where `+isClient+`),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- coalesce(current_setting('reserved_connections', true), '0')::int
		from pg_stat_activity`).Scan(&used, &available)
	f := finding{
		Verdict: ok, Summary: fmt.Sprintf("%d of %d in use", used, available),
		Hint: "lower DATABASE_POOL_MAX_CONNS of the services, put PgBouncer in front, or raise max_connections",
	}
	switch share := float64(used) / float64(max(available, 1)); {
	case share >= connectionsBad:
		f.Verdict = bad
	case share >= connectionsWarn:
		f.Verdict = warn
	}
	return f, err
}

func checkTransactions(ctx context.Context, tx pgx.Tx) (finding, error) {
	f, err := listed(ctx, tx, warn, "none is long or idle", "long or idle",
		"end them in the program, or with pg_terminate_backend; set idle_in_transaction_session_timeout",
		`select format('pid %s of %s: %s for %s', pid, coalesce(usename, '?'), state,
			date_trunc('second', clock_timestamp() - case state when 'active' then xact_start else state_change end))
		from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()
		and (xact_start < clock_timestamp() - $1::float8 * interval '1 second'
			or state like 'idle in transaction%'
				and state_change < clock_timestamp() - $2::float8 * interval '1 second')
		union all
		select format('prepared transaction %s of %s, since %s', gid, owner, date_trunc('second', prepared))
		from pg_prepared_xacts where database = current_database()
		and prepared < clock_timestamp() - $1::float8 * interval '1 second'
		order by 1`, transactionAge.Seconds(), idleAge.Seconds())
	return unlessHidden(ctx, tx, f, err, "sessions of other roles", `select count(*) from pg_stat_activity
		where datname = current_database() and usesysid is not null and backend_type is null`)
}

func checkSlots(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, bad, "none keeps log without end", "without a consumer or far behind",
		"start the consumer, or remove the slot with pg_drop_replication_slot: it keeps log until the disk is full",
		`select format('%s: %s, keeps %s, status %s', slot_name, case when active then 'active' else 'no consumer' end,
			pg_size_pretty(kept), coalesce(wal_status, '?'))
		from (select *, pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
			else pg_current_wal_lsn() end, restart_lsn) as kept from pg_replication_slots) s
		where not active or kept > $1::int8 or wal_status in ('unreserved', 'lost')
		order by kept desc nulls last`, int64(slotWAL))
}

// checkWraparound compares with autovacuum_freeze_max_age, from which on autovacuum freezes a table
// whatever it costs, and vacuum_failsafe_age, from which on it skips everything else.
func checkWraparound(ctx context.Context, tx pgx.Tx) (finding, error) {
	var name string
	var age, freeze, failsafe int64
	err := tx.QueryRow(ctx, `select datname, greatest(age(datfrozenxid), mxid_age(datminmxid)),
		current_setting('autovacuum_freeze_max_age')::int8, current_setting('vacuum_failsafe_age')::int8
		from pg_database order by 2 desc limit 1`).Scan(&name, &age, &freeze, &failsafe)
	f := finding{
		Verdict: ok, Summary: fmt.Sprintf("oldest is %s: %d million of %d million before autovacuum must freeze",
			name, age/1_000_000, freeze/1_000_000),
		Hint: "look for what holds VACUUM up (old transactions, slots, prepared transactions), then VACUUM FREEZE",
	}
	switch {
	case age >= failsafe:
		f.Verdict = bad
	case age >= 2*freeze:
		f.Verdict = warn
	}
	return f, err
}

// sequencesSQL is how much of their range sequences have used. A column of type integer ends before
// a sequence of type bigint does.
const sequencesSQL = `with sequences as (
	select format('%I.%I', s.schemaname, s.sequencename) as name, l.limit_value,
		s.last_value::numeric / l.limit_value as used
	from pg_sequences s
	join pg_class c on c.oid = format('%I.%I', s.schemaname, s.sequencename)::regclass
	left join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass
		and d.refobjsubid > 0 and d.deptype in ('a', 'i')
	left join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
	cross join lateral (select least(s.max_value, case a.atttypid when 'int4'::regtype then 2147483647
		when 'int2'::regtype then 32767 else s.max_value end) as limit_value) l
	where s.increment_by > 0 and not s.cycle and s.last_value is not null)`

func checkSequences(ctx context.Context, tx pgx.Tx) (finding, error) {
	f, err := listed(ctx, tx, warn, "none is nearly exhausted", "nearly exhausted",
		"change the column and its sequence to bigint",
		sequencesSQL+` select format('%s: %s %% of %s', name, round(100 * used, 1), limit_value)
		from sequences where used >= $1::float8 order by used desc`, sequenceWarn)
	if err != nil || f.Verdict != warn {
		return unlessHidden(ctx, tx, f, err, "sequences", `select count(*) from pg_class
			where not pg_is_other_temp_schema(relnamespace)
			and case relkind when 'S' then not has_sequence_privilege(oid, 'usage, select') end`)
	}
	var exhausted bool
	err = tx.QueryRow(ctx, sequencesSQL+` select exists (select from sequences where used >= $1::float8)`, sequenceBad).
		Scan(&exhausted)
	if exhausted {
		f.Verdict = bad
	}
	return f, err
}

func checkAutovacuum(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, bad, "is on for all tables", "off where it should be on",
		"set autovacuum and track_counts to on, and remove autovacuum_enabled from the table",
		`select format('%s = off', name) from pg_settings 
		where name in ('autovacuum', 'track_counts') and setting = 'off'
		union all
		select format('table %s', oid::regclass) from pg_class
		where relkind in ('r', 'm', 't') and exists (select from pg_options_to_table(reloptions)
			where option_name = 'autovacuum_enabled' and not option_value::boolean)`)
}

// checkBloat lists tables with many dead rows, and tables that are much larger than their rows. The
// second is an estimate from ANALYZE's statistics: a row has a header of 24 bytes and a pointer of
// 4, and begins at a multiple of 8; a page has a header of 24.
func checkBloat(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, warn, "no table has many dead rows or much free space", "with dead rows or free space",
		"look for what holds autovacuum up, or lower the table's autovacuum_vacuum_scale_factor; pg_repack or VACUUM "+
			"FULL gives space back",
		`select format('%s: %s of %s rows are dead, %s in all, last vacuum %s', relid::regclass, n_dead_tup,
			n_dead_tup + n_live_tup, pg_size_pretty(pg_table_size(relid)),
			coalesce(date_trunc('second', greatest(last_vacuum, last_autovacuum))::text, 'never'))
		from pg_stat_user_tables where n_dead_tup >= $1::int8
		and n_dead_tup >= $2::float8 * (n_dead_tup + n_live_tup)
		union all
		select format('%s: about %s of %s are free', oid::regclass, pg_size_pretty((bytes - needed)::int8),
			pg_size_pretty(bytes))
		from (select c.oid, pg_relation_size(c.oid) as bytes,
				ceil(c.reltuples * (28 + 8 * ceil(w.width / 8.0)) * 100 / (8192 - 24)
					/ coalesce((select option_value::int from pg_options_to_table(c.reloptions)
						where option_name = 'fillfactor'), 100)) * 8192 as needed
			from pg_class c join pg_namespace n on n.oid = c.relnamespace
			cross join lateral (select count(*) as columns, sum(avg_width * (1 - null_frac)) as width
				from pg_stats s where s.schemaname = n.nspname and s.tablename = c.relname) w
			where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')
			and w.columns = (select count(*) from pg_attribute a
				where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)) t
		where bytes >= $3::int8 and bytes - needed >= $4::float8 * bytes
		order by 1`, int64(deadRows), deadShare, int64(bloatedRelation), freeShare)
}

func checkInvalid(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, bad, "no index is invalid", "invalid",
		"DROP INDEX CONCURRENTLY and create it again: it costs every write and serves no query",
		`select format('%s on %s', indexrelid::regclass, indrelid::regclass) from pg_index
		where not indisvalid and not exists (
			select from pg_stat_progress_create_index p where p.datname = current_database()
			and coalesce(p.index_relid = indexrelid, true)) -- NULL: another role's, which may be this one
		order by 1`)
}

func checkDuplicates(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, warn, "no index is there twice", "there twice",
		"DROP INDEX CONCURRENTLY one of each",
		`select format('%s and %s on %s, %s', b.indexrelid::regclass, a.indexrelid::regclass, a.indrelid::regclass,
			pg_size_pretty(pg_relation_size(b.indexrelid)))
		from pg_index a join pg_index b on a.indrelid = b.indrelid and a.indexrelid < b.indexrelid
		join pg_class ca on ca.oid = a.indexrelid join pg_class cb on cb.oid = b.indexrelid and ca.relam = cb.relam
		where a.indkey::text = b.indkey::text and a.indclass::text = b.indclass::text
		and a.indcollation::text = b.indcollation::text and a.indoption::text = b.indoption::text
		and a.indnkeyatts = b.indnkeyatts and a.indisunique = b.indisunique
		and pg_get_expr(a.indexprs, a.indrelid) is not distinct from pg_get_expr(b.indexprs, b.indrelid)
		and pg_get_expr(a.indpred, a.indrelid) is not distinct from pg_get_expr(b.indpred, b.indrelid)
		order by pg_relation_size(b.indexrelid) desc`)
}

func checkForeignKeys(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, warn, "all of large tables have an index", "without an index",
		"CREATE INDEX CONCURRENTLY on the columns: deleting a referenced row reads the whole table",
		`select format('%s on %s (%s)', c.conname, c.conrelid::regclass,
			(select string_agg(a.attname, ', ' order by k.place)
			from unnest(c.conkey) with ordinality k (attnum, place)
			join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum))
		from pg_constraint c
		cross join lateral (select coalesce(sum(pg_table_size(relid)), pg_table_size(c.conrelid)) as bytes
			from pg_partition_tree(c.conrelid)) size
		where c.contype = 'f' and c.conparentid = 0 and size.bytes >= $1::int8
		and not exists (select from pg_index i where i.indrelid = c.conrelid and i.indisvalid and i.indpred is null
			and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
		order by size.bytes desc`, int64(largeRelation))
}

func checkUnused(ctx context.Context, tx pgx.Tx) (finding, error) {
	return listed(ctx, tx, warn, "every large index is used", "large and unused",
		"check that no standby uses it and that the statistics are old enough, then DROP INDEX CONCURRENTLY",
		`select format('%s on %s: %s, not used since %s', s.indexrelid::regclass, s.relid::regclass,
			pg_size_pretty(pg_relation_size(s.indexrelid)),
			coalesce((select stats_reset from pg_stat_database where datname = current_database())::date::text,
				'the statistics began'))
		from pg_stat_user_indexes s join pg_index i using (indexrelid)
		where s.idx_scan = 0 and not i.indisunique and pg_relation_size(s.indexrelid) >= $1::int8
		and not exists (select from pg_constraint where conindid = s.indexrelid)
		order by pg_relation_size(s.indexrelid) desc`, int64(largeRelation))
}

// checkStatements lists the statements that took most time, if pg_stat_statements is there.
func checkStatements(ctx context.Context, tx pgx.Tx) (finding, error) {
	var schema string
	err := tx.QueryRow(ctx, `select coalesce((select format('%I', n.nspname) from pg_extension e
		join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'), '')`).Scan(&schema)
	if err != nil {
		return finding{}, err
	}
	if schema == "" {
		return finding{
			Verdict: unknown, Summary: "pg_stat_statements is not there: " +
				"set shared_preload_libraries and CREATE EXTENSION pg_stat_statements",
		}, nil
	}
	rows, err := tx.Query(ctx, `select
		round((100 * total_exec_time / nullif(sum(total_exec_time) over (), 0))::numeric)::text,
		calls, round(mean_exec_time::numeric, 2)::text, query
		from `+schema+`.pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
		order by total_exec_time desc limit 10`)
	if err != nil {
		return finding{}, err
	}
	f := finding{Verdict: ok, Summary: "those that took most time"}
	var share, query *string
	var calls int64
	var mean string
	_, err = pgx.ForEachRow(rows, []any{&share, &calls, &mean, &query}, func() error {
		if share != nil && query != nil { // another role's statement has no text
			f.Details = append(f.Details,
				fmt.Sprintf("%s %%, %d × %s ms: %s", *share, calls, mean, mask.SQL(*query, 500)))
		}
		return nil
	})
	return f, err
}
