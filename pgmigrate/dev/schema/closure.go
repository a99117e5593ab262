package schema

import "slices"

// closure holds the objects that a change affects. PostgreSQL refuses to change an object that
// another one uses, so the plan drops the other one first and creates it again afterwards.
type closure struct {
	objects  map[string]bool // by key: dropped, and created again if they are in to
	columns  map[node]bool   // dropped, and added again if they are in to
	retyped  map[node]bool
	defaults map[node]bool   // of these columns: unset first, set at the table's place
	checks   map[uint32]bool // of tables and domains: dropped first, added at their place
	types    map[uint32]bool // renamed first, created again, dropped when nothing uses them

	// swapped holds indexes and constraints whose new form is built before the old one is dropped.
	swapped map[string]bool
}

func newClosure() closure {
	return closure{
		objects: map[string]bool{}, columns: map[node]bool{}, retyped: map[node]bool{}, defaults: map[node]bool{},
		checks: map[uint32]bool{}, types: map[uint32]bool{}, swapped: map[string]bool{},
	}
}

// take adds an object and everything that has to be dropped with it.
func (p *planner) take(o *Object) {
	if p.gone.objects[o.key()] {
		return
	}
	p.gone.objects[o.key()] = true
	p.reach(o)
}

// reach visits the objects that depend on an object.
func (p *planner) reach(o *Object) {
	for i := range p.from.dump.Objects {
		x := &p.from.dump.Objects[i]
		if x.oid == 0 && partWithoutRow[x.Type] && slices.Contains(x.uses, o.key()) {
			p.take(x)
		}
	}
	if o.oid == 0 {
		return
	}
	p.visit(p.from.catalog.fold(node{class: o.class, oid: o.oid}), false)
	if o.class == classRelation {
		for _, a := range p.from.catalog.columns[o.oid] {
			p.visit(node{class: classRelation, oid: o.oid, sub: a.Number}, false)
		}
	}
}

// partWithoutRow lists kinds of entries that are created and dropped with the object they name.
var partWithoutRow = map[string]bool{
	"INDEX ATTACH": true, "TABLE ATTACH": true, "ROW SECURITY": true, "SEQUENCE OWNED BY": true,
}

// visit follows the edges to the objects that depend on n. n is dropped, or may be a retyped
// column.
func (p *planner) visit(n node, retyped bool) {
	for _, d := range p.from.catalog.dependents[n] {
		p.reachDependent(d, n, retyped)
	}
}

func (p *planner) reachDependent(d, on node, retyped bool) {
	c := p.from.catalog
	switch d.class {
	case classDefault:
		p.reachDefault(d.oid, on)
		return
	case classConstraint:
		k := c.constraints[d.oid]
		if k != nil && k.Kind == "c" {
			if !retyped && !p.ofGoneTable(k.Table) {
				p.gone.checks[d.oid] = true
			}
			return
		}
		if k == nil || k.Kind == "n" || k.Parent != 0 && (k.Kind == "f" || p.detached(k.Table)) {
			return
		}
	case classRelation:
		r := c.relations[d.oid]
		switch {
		case r == nil:
			return
		case r.Kind == "r" || r.Kind == "p" || r.Kind == "f":
			if d.sub != 0 && on.class == classType {
				p.retype(d)
			}
			return
		case r.Kind == "S" && retyped:
			return
		case r.Kind == "i" && r.Partition && on.class != classFunction && p.detached(r.IndexOf):
			return // stays with its table
		}
	case classType:
		if on.class == classType {
			p.replace(d.oid)
			return
		}
	}
	o := p.from.byNode[node{class: d.class, oid: d.oid}]
	if o == nil || o.Type == "EXTENSION" {
		return
	}
	switch o.Type {
	case "INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "STATISTICS":
		if retyped {
			return // PostgreSQL makes these again itself
		}
		delete(p.gone.swapped, o.key())
	case "TYPE", "DOMAIN", "TABLE", "SCHEMA":
		return
	}
	p.take(o)
}

// detached reports whether a partition stays but leaves its parent.
func (p *planner) detached(table uint32) bool {
	t := p.from.byNode[node{class: classRelation, oid: table}]
	if t == nil || p.to.byKey[t.key()] == nil || p.gone.objects[t.key()] {
		return false
	}
	key := Object{Type: "TABLE ATTACH", Schema: t.Schema, Name: t.Name}.key()
	if c, ok := p.changed[key]; ok && c.From != nil {
		return true
	}
	for _, parent := range p.from.catalog.relations[table].Parents {
		x := p.from.byNode[node{class: classRelation, oid: parent}]
		if x == nil || p.to.byKey[x.key()] == nil || p.gone.objects[x.key()] {
			return true
		}
	}
	return false
}

func (p *planner) reachDefault(oid uint32, on node) {
	a := p.from.defaults[oid]
	if a == nil {
		return
	}
	self := node{class: classRelation, oid: a.Relation, sub: a.Number}
	switch {
	case self == on:
	case p.from.catalog.relations[a.Relation].Kind == "v":
		if o := p.from.byNode[node{class: classDefault, oid: oid}]; o != nil {
			p.take(o)
		}
	case a.Generated != "":
		if !p.gone.columns[self] {
			p.gone.columns[self] = true
			p.visit(self, false)
		}
	default:
		p.gone.defaults[self] = true
	}
}

func (p *planner) retype(column node) {
	if p.gone.retyped[column] || p.gone.columns[column] {
		return
	}
	p.gone.retyped[column] = true
	p.visit(column, true)
}

// replace recreates a type under its name. Columns move to the new type while the old one exists
// under another name.
func (p *planner) replace(oid uint32) {
	if p.gone.types[oid] {
		return
	}
	o := p.from.byNode[node{class: classType, oid: oid}]
	if o == nil {
		return
	}
	p.gone.types[oid] = true
	p.take(o)
}
