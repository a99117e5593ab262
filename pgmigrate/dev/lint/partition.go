package lint

import "fmt"

// partitions reports tables that become partitions or stop being partitions.
func (j *judge) partitions() {
	for _, oid := range sortedKeys(j.obs.before) {
		before, after := j.obs.before[oid], j.obs.after[oid]
		if after == nil || j.existing(oid) == nil || !before.table() || before.Partition == after.Partition {
			continue
		}
		if before.Partition && j.obs.inTransaction {
			parent := j.observer.relations[before.Root]
			j.add("detach-partition", fmt.Sprintf("detaches %s from %s", after, parent),
				fmt.Sprintf("%salter table %s detach partition %s concurrently;", disableTxNote, parent, after))
		}
	}
	if !j.attaches() {
		return
	}
	for _, oid := range sortedKeys(j.obs.scanned) {
		table := j.existing(oid)
		if table == nil || !table.table() || j.obs.locks[oid] < accessExclusive ||
			j.explained("index-without-concurrently") && !table.Partition && !j.attached(oid) {
			continue
		}
		now := j.observer.relations[oid]
		if now == nil || now.Bound == "" {
			continue
		}
		name := quote(now.Name + "_bound")
		j.add("attach-partition", fmt.Sprintf("checks every row of %s", now), fmt.Sprintf(
			"alter table %s add constraint %s check (%s) not valid;\n-- in the next migration:\nalter table %s "+
				"validate constraint %s;\n-- in the one after, which needs no scan then:\n%s;",
			now, name, now.Bound, now, name, j.statement.SQL))
	}
}

// attaches reports whether the statement gives a partitioned table a partition.
func (j *judge) attaches() bool {
	for oid, after := range j.obs.after {
		if after.Partition && (j.obs.before[oid] == nil || !j.obs.before[oid].Partition) {
			return true
		}
	}
	return false
}

func (j *judge) attached(oid uint32) bool {
	before, after := j.obs.before[oid], j.obs.after[oid]
	return before != nil && after != nil && !before.Partition && after.Partition
}
