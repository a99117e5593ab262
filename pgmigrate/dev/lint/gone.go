package lint

import "fmt"

// relationsGone reports tables and views that were dropped or renamed.
func (j *judge) relationsGone() {
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if before.Kind == "S" {
			j.sequenceGone(before, after)
		}
		if !before.table() && !before.view() && before.Kind != "f" {
			continue
		}
		switch {
		case after == nil && before.view():
			j.unlessReplaced(before, func() {
				j.add("drop-view", "drops "+before.String(),
					"First release a version that does not read from it; then drop it, with the allow comment.")
			})
		case after == nil:
			j.add("drop-table", "drops "+before.String(),
				"First release a version that does not use the table; then drop it, with the allow comment.")
		case before.Name != after.Name || before.Schema != after.Schema:
			message := fmt.Sprintf("renames %s to %s", before, after)
			fix := fmt.Sprintf("alter table %s rename to %s;\ncreate view %s as select * from %s; -- for the "+
				"release before, in the same migration; it can be written to\n"+
				"-- when no instance uses the old name any more:\ndrop view %s;", before, quote(after.Name),
				before, after, before)
			j.unlessReplaced(before, func() { j.add("rename-table", message, fix) })
		}
	}
	j.parsed.each("RenameStmt", func(n node) {
		if n.text("renameType") == "OBJECT_SCHEMA" && j.schemas[n.text("subname")] {
			j.add("rename-schema", "renames schema "+quote(n.text("subname")),
				"Make a new schema and move to it table by table, with views under the old names.")
		}
	})
	j.parsed.each("DropStmt", func(n node) {
		if n.text("removeType") != "OBJECT_SCHEMA" {
			return
		}
		for _, o := range n.list("objects") {
			if name := asNode(o).node("String").text("sval"); j.schemas[name] {
				j.add("drop-schema", "drops schema "+quote(name),
					"First release a version that does not use it; then drop it, with the allow comment.")
			}
		}
	})
}

// sequenceGone reports a sequence that was dropped without its table or column.
func (j *judge) sequenceGone(before, after *relation) {
	owner := j.obs.before[before.Table]
	switch {
	case after == nil:
		if owner == nil || j.parsed.kind == "DropStmt" && j.obs.after[before.Table] != nil {
			j.unlessReplaced(before, func() {
				j.add(
					"drop-sequence",
					"drops "+before.String(),
					"First release a version that does not use the sequence; then drop it, with the allow comment.",
				)
			})
		}
	case before.Name != after.Name || before.Schema != after.Schema && owner == nil:
		j.unlessReplaced(before, func() {
			j.add("rename-sequence", fmt.Sprintf("renames %s to %s", before, after), "Keep the name.")
		})
	}
}

// unlessReplaced reports at the end of the section, unless an object has the old name by then:
// other sessions do not see the gap.
func (j *judge) unlessReplaced(r *relation, report func()) {
	statement := j.statement
	j.atEnd = append(j.atEnd, func() {
		for _, now := range j.observer.relations {
			if now.Schema == r.Schema && now.Name == r.Name && (now.Kind == r.Kind || now.table() || now.view()) {
				return
			}
		}
		j.statement = statement
		report()
	})
}

// cascade reports CASCADE if it drops something that existed before.
func (j *judge) cascade() {
	found := false
	look := func(n node) { found = found || n.text("behavior") == "DROP_CASCADE" }
	j.parsed.each("DropStmt", look)
	j.parsed.each("AlterTableCmd", look)
	j.parsed.each("TruncateStmt", look)
	if !found || !j.obs.inTransaction {
		return
	}
	var gone []string
	constraints := 0
	for _, oid := range sortedKeys(j.obs.before) {
		before, after := j.obs.before[oid], j.obs.after[oid]
		switch {
		case j.existing(oid) == nil:
		case after == nil && (before.table() || before.view()):
			gone = append(gone, before.String())
		case after != nil && len(after.Constraints) < len(before.Constraints):
			constraints++
			gone = append(gone, "constraints of "+after.String())
		case after != nil && (len(after.Columns) < len(before.Columns) || len(after.Triggers) < len(before.Triggers)):
			gone = append(gone, "parts of "+after.String())
		}
	}
	if len(gone) == 0 && !j.explained("truncate", "drop-schema") {
		return // everything that CASCADE drops is new
	}
	message := "drops with CASCADE"
	if len(gone) > 0 {
		message += ": on the shadow, " + list(gone)
	}
	j.add("cascade", message, "Name what is to be dropped, one statement each, and leave CASCADE out: what was "+
		"forgotten is an error then.")
}
