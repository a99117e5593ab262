package schema

import (
	"regexp"
	"slices"
	"strings"
)

// drop adds the drops that come first, and returns the drops for the end.
func (p *planner) drop() (late []Statement) {
	var (
		stays = map[string]bool{}
		all   = p.from.dump.Objects
	)
	for i := len(all) - 1; i >= 0; i-- {
		p.unset(&all[i])
		p.stamp(&all[i])
	}
	for i := len(all) - 1; i >= 0; i-- { // the indexes of a partition are its own then
		if o := &all[i]; o.Type == "TABLE ATTACH" && p.gone.objects[o.key()] && !p.goesAlong(o) {
			p.add(p.dropOf(o)...)
			p.stamp(o)
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		o := &all[i]
		if !p.gone.objects[o.key()] || p.goesAlong(o) || o.Type == "TABLE ATTACH" {
			continue
		}
		before := len(late)
		switch {
		case p.gone.swapped[o.key()]:
			stays[o.key()] = true
		case p.gone.types[o.oid] && o.class == classType:
			old := shortName(o.Name, "_old")
			p.addSQL("ALTER " + o.Type + " " + o.qualified() + " RENAME TO " + old)
			late = append(late, Statement{SQL: "DROP " + o.Type + " " + quoteIfNeeded(o.Schema) + "." + old})
			stays[o.key()] = true
		case p.inUse(o, stays):
			stays[o.key()] = true
			if to := p.to.byKey[o.key()]; to != nil {
				p.refuse(Change{From: o, To: to}, "it is in use, so it cannot be dropped and created again")
				p.made[o.key()] = true
				continue
			}
			late = append(late, p.dropOf(o)...)
		default:
			p.add(p.dropOf(o)...)
			p.dropped[o.key()] = true
		}
		p.stamp(o)
		for ; before < len(late); before++ {
			late[before].object = o
		}
	}
	return late
}

// unset drops the parts of a table or domain that would make a later statement fail. The statements
// that alter the table restore them.
func (p *planner) unset(o *Object) {
	switch o.Type {
	case "TABLE":
		if p.gone.objects[o.key()] {
			return
		}
		for _, a := range p.from.catalog.columns[o.oid] {
			if p.gone.defaults[node{class: classRelation, oid: o.oid, sub: a.Number}] {
				p.addSQL("ALTER TABLE " + p.only(o) + " ALTER COLUMN " + a.Name + " DROP DEFAULT")
			}
		}
		for _, k := range p.from.catalog.checks[o.oid] {
			if k.Inherited > 0 {
				delete(p.gone.checks, k.OID) // it goes with the parent's
			} else if p.gone.checks[k.OID] {
				p.addSQL("ALTER TABLE " + o.qualified() + " DROP CONSTRAINT " + k.Name)
			}
		}
	case "DOMAIN":
		for _, k := range p.from.catalog.constraints {
			if k.Domain == o.oid && p.gone.checks[k.OID] && !p.gone.objects[o.key()] {
				p.addSQL("ALTER DOMAIN " + o.qualified() + " DROP CONSTRAINT " + k.Name)
			}
		}
	}
}

// only returns the table's name for a statement that must not reach its children.
func (p *planner) only(o *Object) string {
	for _, r := range p.from.catalog.relations {
		if slices.Contains(r.Parents, o.oid) {
			return "ONLY " + o.qualified()
		}
	}
	return o.qualified()
}

// inUse reports whether something that stays, or that is dropped at the end, still needs the object
// while the statements run.
func (p *planner) inUse(o *Object, stays map[string]bool) bool {
	if o.oid == 0 {
		return false
	}
	switch o.Type {
	case "TYPE", "DOMAIN", "SEQUENCE", "SCHEMA", "EXTENSION", "COLLATION", "TABLE", "VIEW", "MATERIALIZED VIEW",
		"FOREIGN TABLE", "FUNCTION", "PROCEDURE", "AGGREGATE", "FOREIGN DATA WRAPPER", "SERVER":
	default:
		return false
	}
	c := p.from.catalog
	edges := c.dependents[node{class: o.class, oid: o.oid}]
	if o.class == classRelation {
		for _, a := range c.columns[o.oid] {
			edges = append(slices.Clip(edges), c.dependents[node{class: classRelation, oid: o.oid, sub: a.Number}]...)
		}
	}
	return slices.ContainsFunc(edges, func(d node) bool { return p.stays(o, d, stays) })
}

// stays reports whether d, which uses o, still exists when o must be dropped.
func (p *planner) stays(o *Object, d node, stays map[string]bool) bool {
	c := p.from.catalog
	switch d.class {
	case classDefault:
		a := p.from.defaults[d.oid]
		if a == nil {
			return false
		}
		self := node{class: classRelation, oid: a.Relation, sub: a.Number}
		d = node{class: classRelation, oid: a.Relation}
		if p.gone.defaults[self] {
			return false
		}
	case classConstraint:
		k := c.constraints[d.oid]
		if k == nil || p.gone.checks[d.oid] {
			return false
		}
		if k.Kind == "c" {
			d = node{class: classRelation, oid: k.Table}
			if k.Domain != 0 {
				d = node{class: classType, oid: k.Domain}
			}
		}
	case classRelation:
		r := c.relations[d.oid]
		if r == nil || r.Kind == "S" || r.Partition && d.sub == 0 {
			return false
		}
	}
	x := p.from.byNode[node{class: d.class, oid: d.oid}]
	if x == nil {
		return false
	}
	if !p.gone.objects[x.key()] || stays[x.key()] {
		return true
	}
	owner := p.from.ownerOf(x)
	return owner != nil && owner != o && p.gone.objects[owner.key()] && !p.dropped[owner.key()] && p.goesAlong(x)
}

// goesAlong reports whether the object is dropped together with its table, view or column.
func (p *planner) goesAlong(o *Object) bool {
	c := p.from.catalog
	switch o.Type {
	case "COMMENT", "ACL", "DEFAULT ACL", "INDEX ATTACH":
		return true
	case "INDEX":
		if r := c.relations[o.oid]; r != nil && r.Partition && !p.detached(r.IndexOf) {
			for _, parent := range r.Parents {
				if x := p.from.byNode[c.fold(node{class: classRelation, oid: parent})]; x != nil &&
					p.gone.objects[x.key()] {
					return true
				}
			}
		}
	case "CONSTRAINT", "FK CONSTRAINT":
		if k := c.constraints[o.oid]; k != nil && k.Parent != 0 && !p.detached(k.Table) {
			x := p.from.byNode[node{class: classConstraint, oid: k.Parent}]
			if x == nil || p.gone.objects[x.key()] {
				return true
			}
		}
	case "SEQUENCE":
		return p.sequenceGoes(o)
	case "SEQUENCE OWNED BY":
		for _, key := range o.uses {
			if x := p.from.byKey[key]; x != nil && x.Type == "SEQUENCE" && p.gone.objects[key] {
				return true
			}
		}
		return false
	}
	owner := p.from.ownerOf(o)
	if owner == nil || owner == o {
		return false
	}
	switch o.Type {
	case "FK CONSTRAINT":
		k := c.constraints[o.oid]
		if k == nil || k.ForeignTable == k.Table {
			break
		}
		for _, oid := range []uint32{k.ForeignTable, k.Index} { // the objects it refers to
			if x := p.from.byNode[c.fold(node{class: classRelation, oid: oid})]; x != nil && p.gone.objects[x.key()] {
				return false
			}
		}
	case "POLICY", "RULE":
		return false
	case "TABLE ATTACH": // a table that is referred to keeps its partitions until they are detached
		if p.gone.objects[owner.key()] && slices.ContainsFunc(c.relations[owner.oid].Parents, p.isReferred) {
			return false
		}
	case "DEFAULT":
		a := p.from.defaults[o.oid]
		if a == nil || owner.Type != "TABLE" {
			break
		}
		return true // with its column, at the table's place, or before
	case "CHECK CONSTRAINT":
		if owner.Type == "TABLE" {
			return true // at the table's place
		}
	}
	return p.gone.objects[owner.key()]
}

// isReferred reports whether a foreign key refers to a table that stays.
func (p *planner) isReferred(table uint32) bool {
	if p.ofGoneTable(table) {
		return false
	}
	for _, k := range p.from.catalog.constraints {
		if k.Kind == "f" && k.ForeignTable == table {
			return true
		}
	}
	return false
}

// sequenceGoes reports whether a sequence is dropped with the column that owns it.
func (p *planner) sequenceGoes(o *Object) bool {
	for _, n := range p.from.catalog.owners[o.oid] {
		if p.gone.columns[n] || p.ofGoneTable(n.oid) {
			to := p.to.byKey[o.key()]
			return to == nil || !p.gone.columns[n] || isIdentity(o)
		}
	}
	return false
}

// recreated lists the kinds of objects whose recreation users notice.
var recreated = map[string]bool{
	"VIEW": true, "MATERIALIZED VIEW": true, "FUNCTION": true, "PROCEDURE": true, "AGGREGATE": true, "TRIGGER": true,
	"POLICY": true, "RULE": true, "PUBLICATION": true, "PUBLICATION TABLE": true, "FOREIGN TABLE": true,
}

// dropOf returns the statement that drops one object.
func (p *planner) dropOf(o *Object) []Statement {
	var hazards []Hazard
	if _, comes := p.to.byKey[o.key()]; comes && recreated[o.Type] {
		hazards = append(hazards, hazardRecreate)
	}
	switch o.Type {
	case "TABLE":
		hazards = append(hazards, Hazard{deletesData, "Deletes all rows in the table (and the table itself)"})
	case "INDEX":
		hazards = append(hazards, hazardIndexDropped)
		if r := p.from.catalog.relations[o.oid]; r != nil {
			concurrently := ""
			if r.Kind == "i" && !r.Partition {
				concurrently = "CONCURRENTLY "
			}
			return []Statement{{SQL: "DROP INDEX " + concurrently + r.Name, Hazards: hazards}}
		}
	case "SEQUENCE":
		if m := addIdentity.FindStringSubmatch(o.SQL[0]); m != nil {
			return []Statement{{SQL: m[1] + " DROP IDENTITY"}}
		}
		if len(p.from.catalog.owners[o.oid]) == 0 {
			hazards = append(hazards, Hazard{deletesData, "Deletes the number that the sequence has reached."})
		}
	case "CONSTRAINT":
		if _, comes := p.to.byKey[o.key()]; comes {
			hazards = []Hazard{hazardKeyDropped}
		}
	case "ROW SECURITY":
		return []Statement{{
			SQL:     strings.Replace(o.SQL[0], " ENABLE ", " DISABLE ", 1),
			Hazards: []Hazard{hazardGrant},
		}}
	}
	list, ok := o.drop()
	if !ok {
		if c, isChange := p.changed[o.key()]; isChange {
			p.refuse(c, "PostgreSQL has no statement that drops it alone")
		}
		return nil
	}
	list[0].Hazards = append(list[0].Hazards, hazards...)
	return list
}

var publicationAdd = regexp.MustCompile(
	`^(ALTER PUBLICATION ` + identifier + `) ADD (TABLE ONLY|TABLES IN SCHEMA) (` + qualified + `)`,
)

// drop returns the statement that drops the object, and false if there is none.
func (o Object) drop() ([]Statement, bool) {
	one := func(sql string) ([]Statement, bool) { return []Statement{{SQL: sql}}, true }
	if o.Drop != "" {
		return one(o.Drop)
	}
	if o.Type == "SEQUENCE OWNED BY" {
		sequence, _, _ := strings.Cut(o.SQL[0], " OWNED BY ")
		return one(sequence + " OWNED BY NONE")
	}
	if m := attaches.FindStringSubmatch(o.SQL[0]); m != nil {
		return one("ALTER TABLE " + m[1] + " DETACH PARTITION " + m[2])
	}
	if _, a, ok := readAspect(o.SQL[0]); ok && a.reset != "" { // the state of a partition's trigger
		return one(a.reset)
	}
	if m := publicationAdd.FindStringSubmatch(o.SQL[0]); m != nil {
		return one(m[1] + " DROP " + m[2] + " " + m[3])
	}
	return nil, false
}
