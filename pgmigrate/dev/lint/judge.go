package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/page-builder/persistence/pgmigrate"
)

// judge turns what the statements of one section do into findings.
type judge struct {
	migration pgmigrate.Migration
	direction pgmigrate.Direction
	target    int
	observer  *observer
	schemas   map[string]bool // when the section began
	enums     map[string]bool // made by the section
	filled    map[uint32]bool // tables that the section made, and that may have rows
	unseen    map[string]bool // schemas and temporary relations that the section made: they are not observed

	objects       map[uint32]object // when the section began
	objectsBefore map[uint32]object // before the statement
	objectsNow    map[uint32]object // after it; nil if it cannot have changed them

	backfills *backfills
	gone      []goneColumn
	wroteRows bool // a statement did that names its table

	statement pgmigrate.Statement // the current one
	index     int
	parsed    parsed
	obs       observation
	findings  []Finding
	from      int // findings[from:] are the current statement's

	exclusive map[uint32]int // statement that took ACCESS EXCLUSIVE first, by table, in this transaction
	several   bool           // has been reported
	atEnd     []func()       // what depends on the statements that follow
}

func (s *session) newJudge(
	ctx context.Context, mig pgmigrate.Migration, d pgmigrate.Direction, target int,
) (*judge, error) {
	rows, err := s.conn.Query(ctx, "select nspname from pg_namespace", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	objects, err := readObjects(ctx, s.conn)
	if err != nil {
		return nil, err
	}
	j := &judge{
		migration: mig, direction: d, target: target, observer: s.observer, backfills: s.backfills, index: -1,
		schemas: map[string]bool{}, enums: map[string]bool{}, filled: map[uint32]bool{}, exclusive: map[uint32]int{},
		unseen: map[string]bool{}, objects: objects, objectsBefore: objects,
	}
	for _, n := range names {
		j.schemas[n] = true
	}
	return j, nil
}

func (j *judge) begin(s pgmigrate.Statement, p parsed) {
	j.statement, j.parsed, j.from = s, p, len(j.findings)
	j.index++
}

// transaction forgets the locks of the previous transaction.
func (j *judge) transaction() { j.exclusive = map[uint32]int{} }

// judge applies the rules to the current statement. The specific ones come first: the general ones
// pass over what has been explained.
func (j *judge) judge(obs observation) {
	j.obs = obs
	j.commands()
	j.indexes()
	j.constraints()
	j.columns()
	j.partitions()
	j.relationsGone()
	j.objectsGone()
	j.access()
	j.sequences()
	j.triggers()
	j.writes()
	j.missing()
	j.newTables()
	j.rewrites()
	j.scans()
	j.locks()
	j.cascade()
	j.fills()
	if j.objectsNow != nil {
		j.objectsBefore = j.objectsNow
	}
}

// end returns the section's findings, with those that its comments allow left out.
func (j *judge) end() []Finding {
	for _, fn := range j.atEnd {
		fn()
	}
	slices.SortStableFunc(j.findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return j.allowed()
}

// add adds a finding on the current statement.
func (j *judge) add(rule, message, fix string) { j.addAt(j.statement, rule, message, fix) }

func (j *judge) addAt(s pgmigrate.Statement, rule, message, fix string) {
	r, _ := ruleNamed(rule)
	f := Finding{
		Rule: rule, Severity: r.Severity, Version: j.migration.Version, File: j.migration.Name,
		Line: s.Line, Statement: s.SQL,
		Message: message, Why: r.Why, Fix: strings.TrimSpace(fix),
	}
	if !slices.Contains(j.findings, f) {
		j.findings = append(j.findings, f)
	}
}

// explained reports whether the current statement has a finding, of one of the rules if any are
// given.
func (j *judge) explained(rules ...string) bool {
	return slices.ContainsFunc(j.findings[j.from:], func(f Finding) bool {
		return len(rules) == 0 || slices.Contains(rules, f.Rule)
	})
}

// existing returns the relation if it existed before the section.
func (j *judge) existing(oid uint32) *relation { return j.observer.existing[oid] }

// named returns the existing relations that a statement names. A name without a schema may match
// several.
func (j *judge) named(schema, name string) []*relation {
	var found []*relation
	for _, oid := range slices.Sorted(maps.Keys(j.observer.existing)) {
		r := j.observer.existing[oid]
		if r.Name == name && (schema == "" || r.Schema == schema) {
			found = append(found, r)
		}
	}
	return found
}

// changed returns the existing relations that the statement changed, before and after. The second
// is nil for a relation that is gone. It leaves out changes that partitions only inherit.
func (j *judge) changed() [][2]*relation {
	var list [][2]*relation
	for _, oid := range slices.Sorted(maps.Keys(j.obs.before)) {
		before := j.obs.before[oid]
		if j.existing(oid) == nil || before.Root != oid && j.obs.before[before.Root] != nil && before.Root != 0 {
			continue
		}
		list = append(list, [2]*relation{before, j.obs.after[oid]})
	}
	return list
}

// created returns the relations that the statement made.
func (j *judge) created() []*relation {
	var list []*relation
	for _, oid := range slices.Sorted(maps.Keys(j.obs.after)) {
		if j.obs.before[oid] == nil {
			list = append(list, j.obs.after[oid])
		}
	}
	return list
}

// family reports whether two tables are the same, or partitions of the same.
func (j *judge) family(a, b uint32) bool { return a == b || j.root(a) == j.root(b) }

func (j *judge) root(oid uint32) uint32 {
	for _, from := range []map[uint32]*relation{j.obs.before, j.observer.relations, j.observer.existing} {
		if r := from[oid]; r != nil && r.Root != 0 {
			return r.Root
		}
	}
	return oid
}

// scanned reports whether the statement began to read all of the table, or of a partition of it.
func (j *judge) scanned(table uint32) bool {
	for oid := range j.obs.scanned {
		if r := j.existing(oid); r != nil && r.table() && j.family(oid, table) {
			return true
		}
	}
	return false
}

// rewritten reports whether the statement rewrote the table or a partition of it.
func (j *judge) rewritten(table uint32) bool {
	for oid, before := range j.obs.before {
		after := j.obs.after[oid]
		if after != nil && before.table() && before.File != after.File && before.File != 0 && after.File != 0 &&
			j.family(oid, table) {
			return true
		}
	}
	return false
}

func (j *judge) fails(err error) {
	var pgErr *pgconn.PgError
	message := err.Error()
	if errors.As(err, &pgErr) {
		message = fmt.Sprintf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	j.add("fails", message, "")
}

func (j *judge) refusedInTransaction() {
	j.add("concurrently-in-transaction", "the statement cannot run in the migration's transaction",
		"Move it into a migration of its own, with this line in the section:\n---- tern: disable-tx ----")
}

func (j *judge) newEnumValue(err error) {
	j.add("enum-value-in-same-transaction", fmt.Sprintf("PostgreSQL: %s", pgMessage(err)),
		"Add the value in a migration of its own, and use it in the next one.")
}

func pgMessage(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Message
	}
	return err.Error()
}
