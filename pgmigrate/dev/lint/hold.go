package lint

import (
	"fmt"
	"strings"
)

// rewrites reports rewritten tables that no other rule has reported.
func (j *judge) rewrites() {
	if j.explained(
		"column-type",
		"volatile-default",
		"truncate",
		"cluster",
		"vacuum-full",
		"refresh-materialized-view",
		"reindex",
		"index-without-concurrently",
	) ||
		j.concurrentRefresh() {
		return
	}
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if after == nil || !before.table() || before.Partition != after.Partition || !j.rewritten(before.OID) {
			continue
		}
		if j.changesType() { // USING, and the type is the same
			j.add(
				"column-type",
				fmt.Sprintf("rewrites every row of %s", after),
				"Change the rows in batches, each in a transaction of its own.",
			)
		} else {
			j.add("table-rewrite", fmt.Sprintf("rewrites or empties %s", after),
				"Make a new table, copy the rows in batches, and rename.")
		}
	}
}

func (j *judge) changesType() bool {
	changes := false
	j.parsed.each("AlterTableCmd", func(n node) { changes = changes || n.text("subtype") == "AT_AlterColumnType" })
	return changes
}

// concurrentRefresh may rewrite the view without blocking reads.
func (j *judge) concurrentRefresh() bool {
	return j.parsed.kind == "RefreshMatViewStmt" && j.parsed.node.is("concurrent")
}

// scans reports scans of existing tables while this or another table is locked, unless another rule
// has reported the statement.
func (j *judge) scans() {
	if !j.obs.inTransaction || j.explained() {
		return
	}
	for _, oid := range sortedKeys(j.obs.scanned) {
		table := j.existing(oid)
		if table == nil || !table.table() {
			continue
		}
		if j.parsed.kind == "AlterDomainStmt" && blocks(table, j.obs.locks[oid]) {
			j.add("domain-constraint", fmt.Sprintf("checks every row of %s", table), j.domainFix())
			return
		}
		locked := j.lockedBefore()
		if locked == nil && blocks(table, j.obs.locks[oid]) {
			locked = table
		}
		if locked != nil {
			j.add(
				"scan-while-locked",
				fmt.Sprintf(
					"reads all of %s while the transaction holds %s on %s",
					table,
					j.obs.locks[locked.OID],
					locked,
				),
				"Move what reads, or what locks, into a migration of its own.",
			)
			return
		}
	}
}

func (j *judge) domainFix() string {
	name := j.parsed.node.node("def").node("Constraint").text("conname")
	if name == "" {
		name = "NAME"
	}
	return fmt.Sprintf("%s not valid;\n-- in the next migration:\nalter domain %s validate constraint %s;",
		strings.TrimSuffix(j.statement.SQL, ";"), typeName(j.parsed.node), quote(name))
}

// locks reports strong locks that no other rule explains.
func (j *judge) locks() {
	if !j.obs.inTransaction {
		return
	}
	j.unlimited()
	var earlier, taken []*relation
	for _, oid := range sortedKeys(j.obs.locks) {
		r := j.existing(oid)
		if r == nil || !r.table() || j.obs.locks[oid] < accessExclusive {
			continue
		}
		first, known := j.exclusive[r.Root]
		if !known {
			j.exclusive[r.Root] = j.index
			taken = append(taken, r)
		} else if first < j.index {
			earlier = append(earlier, r)
		}
	}
	if len(earlier) > 0 && len(taken) > 0 && !j.several {
		j.several = true
		j.add(
			"several-tables-locked",
			fmt.Sprintf("waits for ACCESS EXCLUSIVE on %s while holding it on %s", taken[0], earlier[0]),
			"One migration for each table.",
		)
	}
}

// unlimited reports locks without a lock_timeout. pgmigrate turns it off for statements that must
// not give up; a migration may turn it off too.
func (j *judge) unlimited() {
	if !j.obs.noLockTimeout {
		return
	}
	for _, oid := range sortedKeys(j.obs.locks) {
		if r := j.existing(oid); r != nil && blocks(r, j.obs.locks[oid]) && j.obs.held[oid] < j.obs.locks[oid] {
			fix := "Move the statement into a migration with a transaction, or:\nset lock_timeout = '2s';\n" +
				j.statement.SQL + ";"
			if j.migration.Transactional(j.direction) {
				fix = "Leave lock_timeout as pgmigrate sets it: it tries again when the time is over."
			}
			j.add("no-lock-timeout", fmt.Sprintf("takes %s on %s", j.obs.locks[oid], r), fix)
			return
		}
	}
}

// triggers reports triggers that were disabled.
func (j *judge) triggers() {
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if after == nil {
			continue
		}
		for _, name := range sortedKeys(after.Triggers) {
			if was, known := before.Triggers[name]; known && was != "D" && after.Triggers[name] == "D" {
				j.add(
					"disabled-trigger",
					fmt.Sprintf("disables %s of %s", quote(name), after),
					"Leave it enabled, and let the trigger's function pass over what it need not do.",
				)
			}
		}
	}
	j.parsed.each("AlterTableStmt", func(n node) {
		each(n.list("cmds"), "AlterTableCmd", func(c node) {
			if c.text("subtype") == "AT_DisableTrigAll" {
				for _, r := range j.named(rangeVar(n.node("relation"))) {
					j.add(
						"disabled-trigger",
						fmt.Sprintf("disables all triggers of %s, those of foreign keys included", r),
						"Disable only the trigger that you need to, if you must.",
					)
				}
			}
		})
	})
}
