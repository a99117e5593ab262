package schema

import (
	"slices"
	"strings"
)

// create walks the new schema.
func (p *planner) create() {
	for _, c := range p.changes {
		switch c.Object().Type {
		case "COMMENT":
			if c.To == nil && !p.ofRenamed(c.From) {
				p.add(p.comment(c)...)
				p.stamp(c.From)
			}
		case "ACL", "DEFAULT ACL": // before a new object gets a default privilege that is revoked
			if c.From != nil && !p.comesBack(c.From) {
				p.add(p.revoke(c)...)
				p.stamp(c.From)
			}
		}
	}
	partsDone := false
	for i := range p.to.dump.Objects {
		o := &p.to.dump.Objects[i]
		if !partsDone && comesAfterIndexes[o.Type] {
			partsDone = true
			if len(p.attaches) > 0 {
				p.flush()
			}
		}
		p.make(o)
	}
}

// comesAfterIndexes lists the kinds of entries that pg_dump writes after indexes and keys.
var comesAfterIndexes = map[string]bool{
	"INDEX ATTACH": true, "STATISTICS": true, "RULE": true, "TRIGGER": true, "FK CONSTRAINT": true,
	"ROW SECURITY": true,
	"POLICY":       true, "PUBLICATION": true,
}

// make adds the statements for one object of the new schema.
func (p *planner) make(o *Object) {
	defer p.stamp(o)
	key := o.key()
	if p.made[key] || p.renamed[key] {
		return
	}
	p.made[key] = true
	old := p.from.byKey[key]
	c, changed := p.changed[key]
	if o.Type == "COMMENT" || o.Type == "ACL" || o.Type == "DEFAULT ACL" {
		if !changed && (p.comesBack(o) || p.revoked(o)) {
			c, changed = Change{To: o}, true
		}
		if changed {
			if c.From != nil && p.comesBack(o) {
				c.From = nil
			}
			p.makeAspect(c)
		}
		return
	}
	owner := p.to.ownerOf(o)
	switch {
	case old == nil || p.gone.objects[key] || owner != nil && p.gone.objects[owner.key()]:
		p.makeNew(o, old)
	case changed:
		p.change(c)
	case o.Type == "TABLE" && p.touches(old):
		p.alterTable(old, o)
	case o.Type == "DEFAULT" && p.defaultGone(old):
		p.makeDefault(o)
	case o.Type == "DOMAIN":
		p.restoreChecks(old, o)
	case o.Type == "SEQUENCE OWNED BY" && p.gone.objects[keyOfSequence(o)]:
		p.add(statements(o.SQL)...)
	case o.Type == "CHECK CONSTRAINT" && p.checkGone(old):
		p.makeCheck(o)
	}
}

// comesBack reports whether the object of a comment or grant was dropped and created again.
func (p *planner) comesBack(o *Object) bool {
	for _, key := range o.uses {
		on := p.to.byKey[key]
		if on == nil || p.from.byKey[key] == nil {
			continue
		}
		if p.gone.objects[key] {
			return true
		}
		if on.Type == "TABLE" && strings.HasPrefix(o.Name, "COLUMN ") {
			parts := namePart.FindAllString(strings.TrimPrefix(o.Name, "COLUMN "), -1)
			for _, a := range p.from.catalog.columns[p.from.byKey[key].oid] {
				if len(parts) > 0 && unquote(a.Name) == unquote(parts[len(parts)-1]) &&
					p.gone.columns[node{class: classRelation, oid: a.Relation, sub: a.Number}] {
					return true
				}
			}
		}
		if on.Type == "TABLE" && strings.HasPrefix(o.Name, "CONSTRAINT ") {
			for _, k := range p.from.catalog.checks[p.from.byKey[key].oid] {
				if p.gone.checks[k.OID] && strings.HasPrefix(o.Name, "CONSTRAINT "+unquote(k.Name)+" ON ") {
					return true
				}
			}
		}
	}
	return false
}

// revoked reports whether a grant on a column was revoked with one on its table.
func (p *planner) revoked(o *Object) bool {
	if o.Type != "ACL" || !strings.HasPrefix(o.Name, "COLUMN ") {
		return false
	}
	return slices.ContainsFunc(p.changes, func(c Change) bool {
		return c.From != nil && c.From.Type == "ACL" && strings.HasPrefix(c.From.Name, "TABLE ") &&
			slices.ContainsFunc(c.From.uses, func(key string) bool { return slices.Contains(o.uses, key) }) &&
			len(p.revoke(c)) > 0
	})
}

// makeAspect adds the statements for a comment or a grant.
func (p *planner) makeAspect(c Change) {
	if c.Object().Type != "COMMENT" {
		p.add(p.grant(c)...)
		return
	}
	if slices.ContainsFunc(p.indexes, func(s Statement) bool { return slices.Contains(c.To.uses, s.object.key()) }) {
		p.indexes = append(p.indexes, p.comment(c)...)
		return
	}
	p.add(p.comment(c)...)
}

func (p *planner) ofRenamed(o *Object) bool {
	return slices.ContainsFunc(o.uses, func(key string) bool { return p.renamed[key] })
}

// makeNew adds the statements for an object that is new or was dropped to be created again.
func (p *planner) makeNew(o, old *Object) {
	p.pull(o)
	owner := p.to.ownerOf(o)
	stays := owner != nil && p.survives(owner)
	switch o.Type {
	case "TABLE":
		if o.AccessMethod != "" {
			p.addSQL("SET default_table_access_method = " + quoted(o.AccessMethod))
		}
		p.add(statements(o.SQL)...)
		if o.AccessMethod != "" {
			p.addSQL("RESET default_table_access_method")
		}
	case "INDEX":
		p.makeIndex(o, old, stays)
	case "CONSTRAINT":
		p.makeKey(o, old, stays)
	case "FK CONSTRAINT":
		p.makeForeignKey(o, stays)
	case "CHECK CONSTRAINT":
		if stays && owner.Type == "TABLE" {
			p.makeCheck(o)
			return
		}
		p.add(statements(o.SQL)...)
	case "DEFAULT":
		p.makeDefault(o)
	case "SEQUENCE":
		p.makeSequence(o)
	case "TABLE ATTACH":
		if p.parentStays(o) || owner != nil && stays {
			p.attaches = append(p.attaches, statements(o.SQL)...)
			return
		}
		p.add(statements(o.SQL)...)
	case "MATERIALIZED VIEW":
		p.add(statements(o.SQL)...)
		if r := p.to.catalog.relations[o.oid]; r != nil && r.Populated {
			p.refreshes = append(p.refreshes, Statement{
				SQL: "REFRESH MATERIALIZED VIEW " + r.Name, Hazards: []Hazard{hazardRefresh},
			})
		}
	default:
		list := statements(o.SQL)
		if o.Type == "POLICY" || o.Type == "ROW SECURITY" {
			list[0].Hazards = append(list[0].Hazards, hazardGrant)
		}
		p.add(list...)
	}
}

// parentStays reports whether the partitioned table of a TABLE ATTACH existed before.
func (p *planner) parentStays(o *Object) bool {
	m := attaches.FindStringSubmatch(o.SQL[0])
	for _, key := range o.uses {
		x := p.to.byKey[key]
		if x != nil && x.Type == "TABLE" && x.Name != o.Name && m != nil && lastPart(m[1]) == x.Name && p.survives(x) {
			return true
		}
	}
	return false
}

// pull first creates the objects that a new object needs but pg_dump writes after it.
func (p *planner) pull(o *Object) {
	for _, key := range o.uses {
		x := p.to.byKey[key]
		if x == nil || p.made[key] || x.Type == "TABLE" || p.from.byKey[key] != nil && !p.gone.objects[key] {
			continue
		}
		p.make(x)
	}
}
