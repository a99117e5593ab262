package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// constraints reports constraints that are added to or validated on existing tables.
func (j *judge) constraints() {
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if after == nil || before.view() {
			continue
		}
		j.foreignKeysGone(before, after)
		for _, oid := range sortedKeys(after.Constraints) {
			now := after.Constraints[oid]
			was, known := before.Constraints[oid]
			switch {
			case known && !was.Validated && now.Validated:
				j.validated(after, now)
			case !known && !hadConstraint(before,
				now): // else made again by a change of a column's type, which is judged there
				j.newConstraint(after, now)
			}
		}
	}
}

// foreignKeysGone reports dropped foreign keys: the statement locks both tables.
func (j *judge) foreignKeysGone(before, after *relation) {
	for _, oid := range sortedKeys(before.Constraints) {
		c := before.Constraints[oid]
		other := j.existing(c.References)
		if _, stays := after.Constraints[oid]; stays || j.observer.relations[c.References] == nil || c.Type != "f" ||
			other == nil ||
			other.OID == after.OID ||
			hadConstraint(after, c) {
			continue
		}
		if j.obs.locks[after.OID] == accessExclusive && j.obs.locks[other.OID] == accessExclusive {
			j.add("drop-foreign-key", fmt.Sprintf("drops foreign key %s: locks %s and %s", quote(c.Name), after, other),
				"Drop it in a migration of its own, when there is little traffic on both tables.")
		}
	}
}

func hadConstraint(r *relation, c constraint) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(r.Constraints)), func(k constraint) bool {
		return k.Name == c.Name && k.Type == c.Type
	})
}

func (j *judge) newConstraint(table *relation, c constraint) {
	name := fmt.Sprintf("%s of %s", quote(c.Name), table)
	notValid := fmt.Sprintf("alter table %s add constraint %s %s not valid;\n-- in the next migration:\nalter table "+
		"%s validate constraint %s;",
		table, quote(c.Name), c.Definition, table, quote(c.Name))
	switch c.Type {
	case "f":
		if !c.Validated || !j.scannedOrIndexed(table.OID) {
			return
		}
		if table.Kind == "p" && j.target < 18 {
			notValid = "Foreign keys of partitioned tables cannot be NOT VALID before PostgreSQL 18: add it to each " +
				"partition NOT VALID, validate those, " +
				"then add it to the table, which finds them."
		}
		j.add("foreign-key-without-not-valid", "validates foreign key "+name, notValid)
	case "c":
		if c.Validated && j.scanned(table.OID) {
			j.add("check-without-not-valid", "validates check "+name, notValid)
		}
	case "u", "p":
		if index := j.obs.after[c.Index]; index == nil || j.obs.before[c.Index] != nil {
			return // USING INDEX, or the index of a partition
		}
		kind, columns := "unique", strings.TrimPrefix(c.Definition, "UNIQUE ")
		if c.Type == "p" {
			kind, columns = "primary key", strings.TrimPrefix(c.Definition, "PRIMARY KEY ")
		}
		fix := fmt.Sprintf("%screate unique index concurrently %s on %s %s;\n-- in the next migration:\nalter table "+
			"%s add constraint %s %s using index %s;",
			disableTxNote, quote(c.Name), table, columns, table, quote(c.Name), kind, quote(c.Name))
		j.add("unique-constraint", "builds the index of "+kind+" constraint "+name, fix)
	case "x":
		j.add("exclusion-constraint", "builds the index of exclusion constraint "+name,
			"There is none: on a large table, make a new table with the constraint and move the rows.")
	}
}

func (j *judge) validated(table *relation, c constraint) {
	if held := j.lockedBefore(); held != nil {
		j.add("validate-in-same-transaction", fmt.Sprintf("validates %s of %s while the transaction holds %s on %s",
			quote(c.Name), table, j.obs.held[held.OID], held), "Validate in a migration of its own:\n"+
			j.statement.SQL+";")
	}
}

// lockedBefore returns an existing table whose queries the transaction already blocked before the
// current statement.
func (j *judge) lockedBefore() *relation {
	for _, oid := range sortedKeys(j.obs.held) {
		if r := j.existing(oid); r != nil && blocks(r, j.obs.held[oid]) {
			return r
		}
	}
	return nil
}

// scannedOrIndexed also counts the table's indexes, which the planner may prefer for a join.
func (j *judge) scannedOrIndexed(table uint32) bool {
	if j.scanned(table) {
		return true
	}
	for oid := range j.obs.scanned {
		if r := j.existing(oid); r != nil && r.Kind == "i" && j.family(r.Table, table) {
			return true
		}
	}
	return false
}
