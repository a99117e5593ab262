package lint

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// observation describes what one statement did.
type observation struct {
	before, after map[uint32]*relation // what changed; not in before: new; not in after: gone
	scanned       map[uint32]bool      // tables and indexes that existed before the section and that it scanned
	held          map[uint32]lockMode  // locks before the statement, on what existed before the section
	locks         map[uint32]lockMode  // locks after it
	inTransaction bool                 // it ran in a transaction; otherwise there are no locks and no scans
	noLockTimeout bool                 // lock_timeout is 0
}

// observer reads what statements do. It runs between them, on their connection.
//
// PostgreSQL marks each row of its catalogs with the transaction and the command that wrote it, and
// counts what a transaction writes to each catalog. The observer asks for the rows that are newer
// than its last look, and reads only their relations in full. So the cost of a statement does not
// grow with what the statements before it did.
type observer struct {
	conn      *pgx.Conn
	relations map[uint32]*relation // now
	existing  map[uint32]*relation // when the section began
	oids      string               // of existing, as an array literal
	mark      string               // transactions from this one on are new
	command   int64                // commands of the open transaction from this one on are new
	held      map[uint32]lockMode
	scans     map[uint32]int64
	writes    map[string]int64
	planned   int // statements since the query that reads relations was planned
}

func newObserver(ctx context.Context, conn *pgx.Conn) (*observer, error) {
	all, err := readRelations(ctx, conn, nil)
	if err != nil {
		return nil, err
	}
	o := &observer{conn: conn, relations: all}
	o.section()
	return o, o.setMark(ctx)
}

// Planning the query that reads relations takes longer than running it. The observer prepares it in
// SQL, because only the server knows whether a migration has discarded it. A plan for small
// catalogs reads all of them, so the query is planned again after replanAfter statements.
const (
	replanAfter = 200

	prepareSQL = "prepare pgmigrate_lint(oid[]) as " + relationsSQL + " where c.oid = any($1)"
	isPrepared = "(select count(*) from pg_prepared_statements where name = 'pgmigrate_lint')"
)

// section marks everything that exists now as existing before the section.
func (o *observer) section() {
	o.existing = maps.Clone(o.relations)
	o.oids = arrayLiteral(sortedKeys(o.existing))
}

func (o *observer) setMark(ctx context.Context) error {
	rows, err := o.conn.Query(
		ctx,
		"select pg_snapshot_xmax(pg_current_snapshot())::xid::text",
		pgx.QueryExecModeSimpleProtocol,
	)
	if err == nil {
		o.mark, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	}
	if err != nil {
		return fmt.Errorf("read the catalogs: %w", err)
	}
	return nil
}

// PostgreSQL counts the scans that a transaction begins even for a table without rows. That makes
// a validation visible on an empty shadow. The counters belong to the session and are flushed
// between transactions only.
const scansSQL = `
select 's', oid, '', pg_stat_get_xact_numscans(oid) from pg_class
where oid = any('%s'::oid[]) and pg_stat_get_xact_numscans(oid) > 0`

const locksSQL = `
select 'l', relation::oid, mode, pg_stat_get_xact_numscans(relation) from pg_locks
where pid = pg_backend_pid() and locktype = 'relation' and granted and relation = any('%s'::oid[])
	and database = (select oid from pg_database where datname = current_database())`

// catalogs lists the catalogs that describe a relation, with the column that names it.
// Rows of pg_attribute for system columns, most of a small table's, never change.
var catalogs = []struct{ name, relation, where string }{
	{"pg_class", "oid", ""},
	{"pg_attribute", "attrelid", "attnum > 0 and "},
	{"pg_constraint", "conrelid", ""},
	{"pg_trigger", "tgrelid", ""},
	{"pg_policy", "polrelid", ""},
}

const writesSQL = `
union all
select 'i', c, c::text, pg_stat_get_xact_tuples_inserted(c) from catalogs
union all
select 'u', c, c::text, pg_stat_get_xact_tuples_updated(c) from catalogs
union all
select 'd', c, c::text, pg_stat_get_xact_tuples_deleted(c) from catalogs
union all
select 'p', 0, '', ` + isPrepared + `
union all
select 't', 0, current_setting('lock_timeout'), 0`

// glance holds the server's counters.
type glance struct {
	locks         map[uint32]lockMode
	scans         map[uint32]int64
	writes        map[string]int64 // "i", "u" or "d", and the catalog
	prepared      bool
	noLockTimeout bool
}

func (o *observer) glance(ctx context.Context, first string) (glance, error) {
	g := glance{locks: map[uint32]lockMode{}, scans: map[uint32]int64{}, writes: map[string]int64{}}
	var names []string
	for _, c := range catalogs {
		names = append(names, c.name)
	}
	if len(o.existing) == 0 {
		first = scansSQL // reading pg_locks costs time for each lock, and here none of them matters
	}
	sql := "with catalogs as (select unnest('{" + strings.Join(names, ",") + "}'::regclass[]) as c)"
	rows, err := o.conn.Query(ctx, sql+fmt.Sprintf(first, o.oids)+writesSQL, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return g, fmt.Errorf("read locks: %w", err)
	}
	var what, text string
	var oid uint32
	var number int64
	_, err = pgx.ForEachRow(rows, []any{&what, &oid, &text, &number}, func() error {
		switch what {
		case "l":
			g.locks[oid] = max(g.locks[oid], lockModes[text])
			g.scans[oid] = number
		case "s":
			g.scans[oid] = number
		case "p":
			g.prepared = number > 0
		case "t":
			g.noLockTimeout = text == "0"
		default:
			g.writes[what+text] = number
		}
		return nil
	})
	if err != nil {
		return g, fmt.Errorf("read locks: %w", err)
	}
	return g, o.prepare(ctx, g.prepared)
}

func (o *observer) prepare(ctx context.Context, prepared bool) error {
	o.planned++
	sql := prepareSQL
	switch {
	case prepared && o.planned < replanAfter:
		return nil
	case prepared:
		sql = "deallocate pgmigrate_lint; " + sql
	}
	o.planned = 0
	_, err := o.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// transaction starts the observation of a new transaction.
func (o *observer) transaction(ctx context.Context) error {
	g, err := o.glance(ctx, scansSQL)
	if err != nil {
		return err
	}
	o.held, o.scans, o.writes, o.command = map[uint32]lockMode{}, g.scans, g.writes, 0
	return o.setMark(ctx)
}

// written returns the relations with new rows in these catalogs.
func (o *observer) written(ctx context.Context, inCatalogs []string) (map[uint32]bool, error) {
	var parts []string
	for _, c := range catalogs {
		if slices.Contains(inCatalogs, c.name) {
			parts = append(
				parts,
				fmt.Sprintf(
					"select %s as oid, cmin from %s where %sage(xmin) <= age('%s'::xid)",
					c.relation, c.name, c.where, o.mark,
				),
			)
		}
	}
	found := map[uint32]bool{}
	if len(parts) == 0 {
		return found, nil
	}
	rows, err := o.conn.Query(
		ctx,
		fmt.Sprintf("select oid, max(cmin::text::bigint) from (%s) w where cmin::text::bigint >= %d group by oid",
			strings.Join(parts, " union all "), o.command),
		pgx.QueryExecModeSimpleProtocol,
	)
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	var oid uint32
	var command int64
	_, err = pgx.ForEachRow(rows, []any{&oid, &command}, func() error {
		found[oid] = true
		o.command = max(o.command, command+1)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	return found, nil
}

// inTransaction observes a statement that has just run in a transaction that goes on. It rereads
// everything if the statement may have taken back what others did.
func (o *observer) inTransaction(ctx context.Context, everything bool) (observation, error) {
	g, err := o.glance(ctx, locksSQL)
	if err != nil {
		return observation{}, err
	}
	obs := observation{
		before: map[uint32]*relation{}, after: map[uint32]*relation{}, scanned: map[uint32]bool{},
		held: o.held, locks: g.locks, inTransaction: true, noLockTimeout: g.noLockTimeout,
	}
	wrote := func(what, catalog string) bool { return g.writes[what+catalog] != o.writes[what+catalog] }
	var fresh []string
	deleted := false
	for _, c := range catalogs {
		// A new column comes with a new version of its relation's own row.
		if wrote("u", c.name) || wrote("i", c.name) && c.name != "pg_attribute" {
			fresh = append(fresh, c.name)
		}
		deleted = deleted || wrote("d", c.name)
	}
	changed, err := o.written(ctx, fresh)
	if err != nil {
		return obs, err
	}
	for oid, mode := range g.locks {
		if mode > o.held[oid] && mode >= shareUpdateExclusive {
			changed[oid] = true // its place among partitions may be another one
		}
		if g.scans[oid] > o.scans[oid] {
			obs.scanned[oid] = true
		}
		o.scans[oid] = g.scans[oid]
	}
	o.held, o.writes = g.locks, g.writes
	return obs, o.update(ctx, &obs, changed, deleted, everything)
}

// outside observes a statement that cannot run in a transaction, or that ended one.
func (o *observer) outside(ctx context.Context, everything bool) (observation, error) {
	obs := observation{before: map[uint32]*relation{}, after: map[uint32]*relation{}}
	var all []string
	for _, c := range catalogs {
		all = append(all, c.name)
	}
	o.command = 0
	changed, err := o.written(ctx, all)
	if err != nil {
		return obs, err
	}
	if _, err := o.glance(ctx, scansSQL); err != nil { // prepares what is missing
		return obs, err
	}
	if err := o.setMark(ctx); err != nil {
		return obs, err
	}
	return obs, o.update(ctx, &obs, changed, true, everything)
}

// update reads the relations that changed.
func (o *observer) update(
	ctx context.Context,
	obs *observation,
	changed map[uint32]bool,
	deleted, everything bool,
) error {
	if everything {
		now, err := readRelations(ctx, o.conn, nil)
		if err != nil {
			return err
		}
		for oid := range o.relations {
			o.replace(obs, oid, now[oid])
		}
		for oid := range now {
			o.replace(obs, oid, now[oid])
		}
		return nil
	}
	if err := o.reread(ctx, obs, changed); err != nil || !deleted {
		return err
	}
	lost, err := o.lost(ctx)
	if err != nil {
		return err
	}
	return o.reread(ctx, obs, lost)
}

func (o *observer) reread(ctx context.Context, obs *observation, oids map[uint32]bool) error {
	if len(oids) == 0 {
		return nil
	}
	now, err := readRelations(ctx, o.conn, slices.Collect(maps.Keys(oids)))
	if err != nil {
		return err
	}
	for oid := range oids {
		o.replace(obs, oid, now[oid])
	}
	return nil
}

const shapesSQL = `
with k as materialized (select conrelid, count(*) as n from pg_constraint group by 1),
	t as materialized (select tgrelid, count(*) as n from pg_trigger where not tgisinternal group by 1),
	p as materialized (select polrelid, count(*) as n from pg_policy group by 1)
select oid, coalesce(k.n, 0), coalesce(t.n, 0), coalesce(p.n, 0)
from pg_class left join k on conrelid = oid left join t on tgrelid = oid
	left join p on polrelid = oid ` + relationsWhere

// lost returns the relations that are gone, or that lost a constraint, trigger or policy.
func (o *observer) lost(ctx context.Context) (map[uint32]bool, error) {
	rows, err := o.conn.Query(ctx, shapesSQL, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	lost := map[uint32]bool{}
	for oid := range o.relations {
		lost[oid] = true
	}
	var oid uint32
	var constraints, triggers, policies int
	_, err = pgx.ForEachRow(rows, []any{&oid, &constraints, &triggers, &policies}, func() error {
		r := o.relations[oid]
		if r != nil && len(r.Constraints) == constraints && len(r.Triggers) == triggers && len(r.Policies) == policies {
			delete(lost, oid)
		} else {
			lost[oid] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalogs: %w", err)
	}
	return lost, nil
}

// replace stores the current state of a relation.
func (o *observer) replace(obs *observation, oid uint32, now *relation) {
	before := o.relations[oid]
	if first, seen := obs.before[oid]; seen {
		before = first
	}
	switch {
	case now == nil && before == nil:
		return
	case now == nil:
		obs.before[oid] = before
		delete(obs.after, oid)
		delete(o.relations, oid)
		return
	case before == nil:
		obs.after[oid] = now
	case !now.equal(before):
		obs.before[oid], obs.after[oid] = before, now
	}
	o.relations[oid] = now
}

func (r *relation) equal(other *relation) bool {
	return r.Schema == other.Schema && r.Name == other.Name && r.File == other.File && r.Partition == other.Partition &&
		r.Root == other.Root && r.Table == other.Table && r.Constraint == other.Constraint &&
		r.Secured == other.Secured &&
		r.ACL == other.ACL && maps.Equal(r.Columns, other.Columns) && maps.Equal(r.Constraints, other.Constraints) &&
		maps.Equal(r.Triggers, other.Triggers) && slices.Equal(r.Policies, other.Policies)
}

func arrayLiteral(oids []uint32) string {
	return "{" + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(oids)), ","), "[]") + "}"
}
