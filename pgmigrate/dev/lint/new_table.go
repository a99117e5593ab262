package lint

import (
	"fmt"
	"strings"
)

// newTables reports choices that are cheap to change only while a table is new.
func (j *judge) newTables() {
	for _, r := range j.created() {
		if r.Kind != "r" && r.Kind != "p" || r.Partition {
			continue
		}
		for _, k := range r.Constraints {
			if k.Type != "p" {
				continue
			}
			for _, c := range r.Columns {
				if k.Definition == "PRIMARY KEY ("+quote(c.Name)+")" && (c.Type == "integer" || c.Type == "smallint") &&
					(c.Identity != "" || strings.HasPrefix(c.Default, "nextval(")) {
					j.add("int-primary-key", fmt.Sprintf("numbers the rows of %s in %s", r, c.Type),
						fmt.Sprintf("%s bigint generated always as identity primary key", quote(c.Name)))
				}
			}
		}
	}
}

// fills notes which of the section's new tables may have rows from now on.
func (j *judge) fills() {
	j.parsed.each("CreateSchemaStmt", func(n node) { j.unseen[n.text("schemaname")] = true })
	for _, field := range []string{"relation", "rel", "view", "sequence"} {
		each(map[string]any(j.parsed.node), field, func(n node) {
			if n.text("relpersistence") == "t" {
				j.unseen[n.text("relname")] = true
			}
		})
	}
	note := func(n node) {
		schema, name := rangeVar(n)
		if r := j.current(schema, name); r != nil && j.existing(r.OID) == nil {
			j.filled[r.OID] = true
		}
	}
	if !j.parsed.runsQueries() {
		return
	}
	j.parsed.each("InsertStmt", func(n node) { note(n.node("relation")) })
	j.parsed.each("MergeStmt", func(n node) { note(n.node("relation")) })
	j.parsed.each("CreateTableAsStmt", func(n node) {
		if !n.node("into").is("skipData") {
			note(n.node("into").node("rel"))
		}
	})
	j.parsed.each("IntoClause", func(n node) { note(n.node("rel")) })
}
