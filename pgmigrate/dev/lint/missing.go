package lint

import (
	"fmt"
	"slices"
)

var relationObjects = map[string]bool{
	"OBJECT_TABLE": true, "OBJECT_VIEW": true, "OBJECT_MATVIEW": true,
	"OBJECT_INDEX": true, "OBJECT_SEQUENCE": true, "OBJECT_FOREIGN_TABLE": true,
}

// missing reports IF EXISTS where nothing exists: production may have anything under that name.
func (j *judge) missing() {
	j.parsed.each("DropStmt", func(n node) {
		if !n.is("missing_ok") {
			return
		}
		for _, o := range n.list("objects") {
			kind := n.text("removeType")
			name, found, known := j.dropped(kind, asNode(o))
			if known && !found {
				j.reportMissing(name)
			}
		}
	})
	j.parsed.each("AlterTableStmt", func(n node) {
		schema, name := rangeVar(n.node("relation"))
		table := j.current(schema, name)
		if table == nil {
			return // a temporary table
		}
		each(n.list("cmds"), "AlterTableCmd", func(c node) {
			if !c.is("missing_ok") {
				return
			}
			before := table
			if b := j.obs.before[table.OID]; b != nil {
				before = b
			}
			switch c.text("subtype") {
			case "AT_DropColumn":
				for _, k := range before.Columns {
					if k.Name == c.text("name") {
						return
					}
				}
			case "AT_DropConstraint":
				for _, k := range before.Constraints {
					if k.Name == c.text("name") {
						return
					}
				}
			default:
				return
			}
			j.reportMissing(quote(c.text("name")) + " of " + table.String())
		})
	})
}

func (j *judge) reportMissing(name string) {
	j.add(
		"drop-missing",
		fmt.Sprintf("drops %s, which no migration made", name),
		"Leave IF EXISTS out: then the migration fails where the object is missing. If it was made "+
			"by hand, bring it into the migrations first (pgmigrate-dev drift).",
	)
}

// current returns the relation of that name as it is after the statement.
func (j *judge) current(schema, name string) *relation {
	for _, r := range j.observer.relations {
		if r.Name == name && (schema == "" || r.Schema == schema) {
			return r
		}
	}
	return nil
}

// dropped returns the name in a DROP and whether the statement dropped that object. known is false
// for kinds of objects that are not observed.
func (j *judge) dropped(kind string, n node) (name string, found, known bool) {
	parts := nameParts(n)
	if len(parts) == 0 {
		return "", false, false
	}
	last := parts[len(parts)-1]
	switch {
	case relationObjects[kind]:
		found = j.unseen[last]
		for oid, r := range j.obs.before {
			found = found || r.Name == last && j.observer.relations[oid] == nil
		}
	case kind == "OBJECT_TRIGGER", kind == "OBJECT_POLICY":
		if len(parts) < 2 || j.current("", parts[len(parts)-2]) == nil {
			return quote(last), false, len(parts) > 1
		}
		for _, r := range j.obs.before {
			_, trigger := r.Triggers[last]
			found = found || r.Name == parts[len(parts)-2] && (trigger || slices.Contains(r.Policies, last))
		}
		return quote(last) + " of " + quote(parts[len(parts)-2]), found, true
	case kind == "OBJECT_FUNCTION",
		kind == "OBJECT_PROCEDURE",
		kind == "OBJECT_ROUTINE",
		kind == "OBJECT_AGGREGATE",
		kind == "OBJECT_TYPE",
		kind == "OBJECT_DOMAIN":
		for oid, o := range j.objectsBefore {
			_, stays := j.objectsNow[oid]
			found = found || o.Name == last && !stays
		}
	case kind == "OBJECT_SCHEMA":
		found = j.schemas[last] || j.unseen[last]
	default:
		return "", false, false
	}
	return quote(last), found, true
}

// nameParts returns the name that a DROP gives an object, whatever kind it is.
func nameParts(n node) []string {
	var items []any
	switch {
	case n.node("List") != nil:
		items = n.node("List").list("items")
	case n.node("ObjectWithArgs") != nil:
		items = n.node("ObjectWithArgs").list("objname")
	case n.node("TypeName") != nil:
		items = n.node("TypeName").list("names")
	default:
		items = []any{map[string]any(n)}
	}
	var parts []string
	for _, i := range items {
		if s := asNode(i).node("String").text("sval"); s != "" {
			parts = append(parts, s)
		}
	}
	return parts
}
