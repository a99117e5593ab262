package lint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const disableTxNote = "-- in a migration of its own, with the line \"---- tern: disable-tx ----\":\n"

// indexes reports indexes that are created or dropped on existing tables.
func (j *judge) indexes() {
	if j.concurrent() {
		return
	}
	vanished := map[string]*relation{} // by name
	files := map[uint32]bool{}
	for _, before := range j.obs.before {
		if before.Kind == "i" && j.observer.relations[before.OID] == nil {
			vanished[before.Schema+"."+before.Name] = before
			files[before.File] = true
		}
	}
	var names, on []string
	for _, r := range j.created() {
		table := j.existing(r.Table)
		if r.Kind != "i" || table == nil || r.Constraint != 0 {
			continue
		}
		if files[r.File] || vanished[r.Schema+"."+r.Name] != nil {
			continue // made again by a change of a column's type, which is judged there
		}
		names, on = append(names, r.String()), append(on, table.String())
	}
	if len(names) > 0 {
		j.add("index-without-concurrently", fmt.Sprintf("builds %s on %s", list(names), list(on)), j.concurrentIndex())
	}
	j.droppedIndexes()
}

func (j *judge) droppedIndexes() {
	made := map[string]bool{}
	for _, r := range j.created() {
		made[r.Schema+"."+r.Name] = true
	}
	for _, oid := range sortedKeys(j.obs.before) {
		r := j.obs.before[oid]
		if r.Kind != "i" && r.Kind != "I" || j.observer.relations[oid] != nil || j.existing(oid) == nil ||
			r.Constraint != 0 || made[r.Schema+"."+r.Name] {
			continue
		}
		table := j.observer.relations[r.Table]
		if table == nil {
			continue // gone with its table
		}
		if before := j.obs.before[r.Table]; before != nil && len(before.Columns) > len(table.Columns) {
			continue // gone with its column
		}
		if root := j.obs.before[table.Root]; table.Partition && j.parsed.kind == "DropStmt" && root != nil {
			continue // with the index of the partitioned table
		}
		fix := disableTxNote + "drop index concurrently " + r.String() + ";"
		if r.Kind == "I" {
			fix = "PostgreSQL has no concurrent form for the index of a partitioned table: drop it when there is " +
				"little traffic, and allow it."
		}
		j.add("drop-index", fmt.Sprintf("drops %s of %s", r, table), fix)
	}
}

// concurrent reports whether the statement is one of the concurrent forms.
func (j *judge) concurrent() bool {
	switch j.parsed.kind {
	case "IndexStmt", "DropStmt":
		return j.parsed.node.is("concurrent")
	case "ReindexStmt":
		return hasOption(j.parsed.node.list("params"), "concurrently")
	default:
		return false
	}
}

var indexWord = regexp.MustCompile(`(?is)\A(create\s+(?:unique\s+)?index)\b`)

// concurrentIndex returns the safe form of the current statement.
func (j *judge) concurrentIndex() string {
	if j.parsed.kind != "IndexStmt" {
		return "Build the index with CREATE INDEX CONCURRENTLY before, in a migration of its own with the line " +
			"\"---- tern: disable-tx ----\"."
	}
	relation := j.parsed.node.node("relation")
	for _, r := range j.named(rangeVar(relation)) {
		if r.Kind == "p" {
			return fmt.Sprintf(`-- CONCURRENTLY is not possible on a partitioned table.
-- First, for the table itself, which builds nothing:
%s;
%s-- for each partition: create index concurrently PARTITION_INDEX on PARTITION (…);
-- then, for each: alter index %s attach partition PARTITION_INDEX;`,
				onlyWord.ReplaceAllString(j.statement.SQL, "${1}on only "), disableTxNote,
				quote(j.parsed.node.text("idxname")))
		}
	}
	return disableTxNote + indexWord.ReplaceAllString(j.statement.SQL, "${1} concurrently") + ";"
}

var onlyWord = regexp.MustCompile(`(?is)\A(create\s+(?:unique\s+)?index\s.*?)\bon\s+`)

// list joins names without repeating one.
func list(names []string) string {
	var kept []string
	for _, n := range names {
		if !slices.Contains(kept, n) {
			kept = append(kept, n)
		}
	}
	if len(kept) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(kept[:5], ", "), len(kept)-5)
	}
	return strings.Join(kept, ", ")
}

var reindexWord = regexp.MustCompile(`(?is)\A(reindex\s+(?:\([^)]*\)\s*)?(?:index|table|schema|database|system))\b`)
