package lint

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// observation is what one statement did.
type observation struct {
	before, after map[uint32]*relation // what changed; missing in before: new, missing in after: gone
	scanned       map[uint32]bool      // tables and indexes of which it began a scan
	held          map[uint32]lockMode  // by the transaction before the statement, on what existed before the section
	locks         map[uint32]lockMode  // after it
	inTransaction bool                 // it could be run in one; otherwise there are neither locks nor scans
	noLockTimeout bool                 // lock_timeout is 0
}

// observer reads what statements do. It is used between them, on their connection.
type observer struct {
	conn      *pgx.Conn
	relations map[uint32]*relation // now
	existing  map[uint32]*relation // when the section began
	held      map[uint32]lockMode
	scans     map[uint32]int64
}

func newObserver(ctx context.Context, conn *pgx.Conn) (*observer, error) {
	all, err := readRelations(ctx, conn, nil)
	return &observer{conn: conn, relations: all}, err
}

// section makes what there is now what existed before.
func (o *observer) section() { o.existing = maps.Clone(o.relations) }

// transaction notes where the counters stand that live as long as a transaction does.
func (o *observer) transaction(ctx context.Context) error {
	o.held = map[uint32]lockMode{}
	var err error
	_, o.scans, _, err = o.read(ctx)
	return err
}

// The number of scans that this transaction has begun is counted even for a table without rows,
// which is what makes a validation visible on an empty shadow. The counters are per session,
// flushed between transactions only.
const observeSQL = `
select 'l', relation::oid, mode, 0 from pg_locks
where pid = pg_backend_pid() and locktype = 'relation' and granted and relation >= 16384
	and database = (select oid from pg_database where datname = current_database())
union all
select 's', oid, '', pg_stat_get_xact_numscans(oid) from pg_class
where oid >= 16384 and relkind in ('r', 'm', 'i') and pg_stat_get_xact_numscans(oid) > 0
union all
select 't', 0, current_setting('lock_timeout'), 0`

func (o *observer) read(
	ctx context.Context,
) (locks map[uint32]lockMode, scans map[uint32]int64, lockTimeout string, err error) {
	rows, err := o.conn.Query(ctx, observeSQL, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, nil, "", fmt.Errorf("read locks: %w", err)
	}
	locks, scans = map[uint32]lockMode{}, map[uint32]int64{}
	var what, text string
	var oid uint32
	var number int64
	_, err = pgx.ForEachRow(rows, []any{&what, &oid, &text, &number}, func() error {
		switch what {
		case "l":
			locks[oid] = max(locks[oid], lockModes[text])
		case "s":
			scans[oid] = number
		default:
			lockTimeout = text
		}
		return nil
	})
	if err != nil {
		return nil, nil, "", fmt.Errorf("read locks: %w", err)
	}
	return locks, scans, lockTimeout, nil
}

// inTransaction observes a statement that has just run in a transaction that goes on.
func (o *observer) inTransaction(ctx context.Context) (observation, error) {
	locks, scans, lockTimeout, err := o.read(ctx)
	if err != nil {
		return observation{}, err
	}
	// Whoever changes a relation holds a lock on it.
	now, err := readRelations(ctx, o.conn, slices.Collect(maps.Keys(locks)))
	if err != nil {
		return observation{}, err
	}
	obs := observation{
		before: map[uint32]*relation{}, after: map[uint32]*relation{}, scanned: map[uint32]bool{}, held: o.held,
		locks: map[uint32]lockMode{}, inTransaction: true, noLockTimeout: lockTimeout == "0",
	}
	for oid := range locks {
		o.update(&obs, oid, now[oid])
	}
	for oid, n := range scans {
		if n > o.scans[oid] {
			obs.scanned[oid] = true
		}
	}
	for oid, mode := range locks {
		if o.existing[oid] != nil {
			obs.locks[oid] = mode
		}
	}
	o.held, o.scans = obs.locks, scans
	return obs, nil
}

// outside observes a statement that cannot run in a transaction, or that ended one.
func (o *observer) outside(ctx context.Context) (observation, error) {
	now, err := readRelations(ctx, o.conn, nil)
	if err != nil {
		return observation{}, err
	}
	obs := observation{before: map[uint32]*relation{}, after: map[uint32]*relation{}}
	for oid := range o.relations {
		o.update(&obs, oid, now[oid])
	}
	for oid := range now {
		o.update(&obs, oid, now[oid])
	}
	return obs, nil
}

// update takes note of what the catalog says of a relation now.
func (o *observer) update(obs *observation, oid uint32, now *relation) {
	before := o.relations[oid]
	switch {
	case now == nil && before == nil:
		return
	case now == nil:
		obs.before[oid] = before
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
		maps.Equal(r.Columns, other.Columns) &&
		maps.Equal(r.Constraints, other.Constraints) && maps.Equal(r.Triggers, other.Triggers)
}
