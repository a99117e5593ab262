package schema

import (
	"regexp"
	"slices"
	"strings"
)

// change adds the statements for an object that exists in another form.
func (p *planner) change(c Change) {
	o := c.To
	switch o.Type {
	case "TABLE":
		p.alterTable(c.From, c.To)
		return
	case "DEFAULT":
		p.makeDefault(o)
		return
	case "CHECK CONSTRAINT":
		return // at its table's place
	}
	if same, list := changedAspects(*c.From, *c.To); same {
		p.addAspects(list)
		return
	}
	if o.Type == "TYPE" && (baseType.MatchString(o.SQL[0]) || rangeType.MatchString(o.SQL[0])) {
		return // refused
	}
	switch o.Type {
	case "VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE":
		list := statements(o.SQL)
		list[0].SQL = strings.Replace(list[0].SQL, "CREATE ", "CREATE OR REPLACE ", 1)
		p.add(list...)
	case "SEQUENCE":
		p.alterSequence(c)
	case "DOMAIN":
		p.restoreChecks(c.From, c.To)
		list, _ := alterDomain(c.From.SQL[0], c.To.SQL[0], p.droppedChecks(c.From))
		p.add(list...)
	case "TYPE":
		list, ok := alterEnum(c.From.SQL[0], c.To.SQL[0])
		if !ok {
			list, _ = alterComposite(c.From.SQL[0], c.To.SQL[0])
		}
		p.add(list...)
	case "EXTENSION":
		if m := extensionSchema.FindStringSubmatch(o.SQL[0]); m != nil {
			p.addSQL("ALTER EXTENSION " + m[1] + " SET SCHEMA " + m[2])
			return
		}
		p.refuse(c, "no statement is known that changes it")
	default:
		p.refuse(c, "no statement is known that changes it")
	}
}

var extensionSchema = regexp.MustCompile(`^CREATE EXTENSION (?:IF NOT EXISTS )?(` + identifier + `) WITH SCHEMA (` +
	identifier + `)$`)

// replaceable reports whether an object can be changed in place.
func (p *planner) replaceable(c Change) bool {
	if same, _ := changedAspects(*c.From, *c.To); same {
		return true
	}
	switch c.To.Type {
	case "VIEW":
		from, to := p.from.catalog.columns[c.From.oid], p.to.catalog.columns[c.To.oid]
		if len(to) < len(from) || c.From.isDummy() || c.To.isDummy() {
			return false
		}
		for i, a := range from {
			if b := to[i]; a.Name != b.Name || a.Type != b.Type || a.Collation != b.Collation {
				return false
			}
		}
		return true
	case "FUNCTION", "PROCEDURE":
		from, to := p.from.catalog.functions[c.From.oid], p.to.catalog.functions[c.To.oid]
		if from == nil || to == nil || from.Head != to.Head || from.Defaults > to.Defaults {
			return false
		}
		for i, name := range from.Names {
			if name != "" && (i >= len(to.Names) || name != to.Names[i]) {
				return false
			}
		}
		return true
	case "SEQUENCE":
		from, to := addIdentity.FindStringSubmatch(c.From.SQL[0]), addIdentity.FindStringSubmatch(c.To.SQL[0])
		return (from == nil) == (to == nil) && (from == nil || from[1] == to[1])
	case "DEFAULT", "COMMENT", "ACL", "DEFAULT ACL", "CHECK CONSTRAINT", "EXTENSION", "SCHEMA":
		return c.To.Type != "CHECK CONSTRAINT" || p.to.ownerOf(c.To) != nil && p.to.ownerOf(c.To).Type == "TABLE"
	}
	return false
}

// isDummy reports whether pg_dump writes the view without its query, which follows as a rule
// because it needs a key.
func (o *Object) isDummy() bool { return strings.Contains(o.SQL[0], "SELECT\n    NULL::") }

// alterable reports whether ALTER can change the type as it stands.
func (p *planner) alterable(c Change) bool {
	if same, _ := changedAspects(*c.From, *c.To); same {
		return true
	}
	if c.To.Type == "DOMAIN" {
		_, ok := alterDomain(c.From.SQL[0], c.To.SQL[0], nil)
		return ok
	}
	if _, ok := alterEnum(c.From.SQL[0], c.To.SQL[0]); ok {
		return true
	}
	list, ok := alterComposite(c.From.SQL[0], c.To.SQL[0])
	if !ok {
		return false
	}
	return !p.hasColumns(c.From) || !slices.ContainsFunc(list, func(s Statement) bool {
		return strings.Contains(s.SQL, " ALTER ATTRIBUTE ")
	})
}
