package schema

import (
	"regexp"
	"slices"
	"strings"
)

// closure is what a change reaches: PostgreSQL refuses to change what something else uses, so that
// has to go first and comes back after.
type closure struct {
	objects  map[string]bool // by key: dropped, and created again if they are in to
	columns  map[node]bool   // dropped, and added again if they are in to
	retyped  map[node]bool
	defaults map[node]bool   // of these columns: unset first, set at the table's place
	checks   map[uint32]bool // of tables and domains: dropped first, added at their place
	types    map[uint32]bool // renamed first, made anew, dropped when nothing uses them

	// swapped are indexes and constraints whose new form is built before the old one goes.
	swapped map[string]bool
}

func newClosure() closure {
	return closure{
		objects: map[string]bool{}, columns: map[node]bool{}, retyped: map[node]bool{}, defaults: map[node]bool{},
		checks: map[uint32]bool{}, types: map[uint32]bool{}, swapped: map[string]bool{},
	}
}

// take adds an object and all that has to go with it.
func (p *planner) take(o *Object) {
	if p.gone.objects[o.key()] {
		return
	}
	p.gone.objects[o.key()] = true
	p.reach(o)
}

// reach visits what depends on an object.
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

// partWithoutRow are entries of an archive that come and go with an object that they name.
var partWithoutRow = map[string]bool{
	"INDEX ATTACH": true, "TABLE ATTACH": true, "ROW SECURITY": true, "SEQUENCE OWNED BY": true,
}

// visit follows the edges to what depends on n, which is dropped or, if it is a column, may be
// retyped.
func (p *planner) visit(n node, retyped bool) {
	for _, e := range p.from.catalog.dependents[n] {
		p.reachDependent(e.from, n, retyped)
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

// detached reports whether a partition that stays is taken off its parent.
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

// replace makes a type anew under its name. Columns move to the new one while the old one is there
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

func (p *planner) ofGoneTable(oid uint32) bool {
	o := p.from.byNode[node{class: classRelation, oid: oid}]
	return o != nil && p.gone.objects[o.key()]
}

// seed begins the closure with what the changes themselves drop, retype or make anew.
func (p *planner) seed() {
	taken := map[string]bool{} // names of relations and types that are new
	for _, c := range p.changes {
		if c.From == nil && namespaced[c.To.Type] != "" {
			taken[namespaced[c.To.Type]+c.To.Schema+"."+c.To.Name] = true
		}
	}
	for _, c := range p.changes {
		switch {
		case c.From == nil:
		case c.To == nil:
			p.seedGone(c.From, taken[namespaced[c.From.Type]+c.From.Schema+"."+c.From.Name])
		case c.From.Type == "TABLE":
			p.seedTable(c)
		case c.From.Type == "TYPE" || c.From.Type == "DOMAIN":
			switch {
			case p.alterable(c):
			case baseType.MatchString(c.From.SQL[0]) || baseType.MatchString(c.To.SQL[0]):
				p.refuse(c, "a base type cannot be made again while its functions are there")
			case rangeType.MatchString(c.From.SQL[0]) && rangeType.MatchString(c.To.SQL[0]):
				if p.hasColumns(c.From) {
					p.refuse(c, "a range type cannot be made again while it has columns")
					break
				}
				p.take(c.From)
			default:
				p.replace(c.From.oid)
			}
		case !p.replaceable(c):
			if p.swaps(c.From) && !p.gone.objects[c.From.key()] {
				p.gone.swapped[c.From.key()] = true
			}
			p.take(c.From)
		}
	}
	p.seedKeys()
}

var (
	baseType  = regexp.MustCompile(`^CREATE TYPE ` + qualified + ` \(`)
	rangeType = regexp.MustCompile(`^CREATE TYPE ` + qualified + ` AS RANGE \(`)
)

// namespaced says which kinds of objects share their names.
var namespaced = map[string]string{
	"TABLE": "r", "VIEW": "r", "MATERIALIZED VIEW": "r", "FOREIGN TABLE": "r", "SEQUENCE": "r", "INDEX": "r",
	"TYPE": "t", "DOMAIN": "t",
}

func (p *planner) seedGone(o *Object, nameTaken bool) {
	switch o.Type {
	case "TYPE", "DOMAIN":
		if nameTaken {
			p.replace(o.oid)
			return
		}
		p.gone.objects[o.key()] = true
	case "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE":
		if nameTaken || o.Type == "SEQUENCE" && len(p.from.catalog.owners[o.oid]) > 0 {
			p.take(o)
			return
		}
		p.gone.objects[o.key()] = true
	case "INDEX ATTACH": // which goes with the partitioned index alone
		p.gone.objects[o.key()] = true
		if !slices.ContainsFunc(o.uses, func(key string) bool {
			return p.to.byKey[key] != nil && strings.HasSuffix(" "+p.to.byKey[key].Name, " "+o.Name)
		}) {
			return // the attached index goes
		}
		for _, key := range o.uses {
			x := p.from.byKey[key]
			if x == nil || x.oid == 0 || p.to.byKey[key] == nil || x.Name == o.Name || x.Type == "TABLE" {
				continue
			}
			m := attaches.FindStringSubmatch(o.SQL[0])
			if m != nil && strings.HasSuffix(" "+x.Name, " "+lastPart(m[1])) {
				p.take(x)
			}
		}
	case "SCHEMA", "EXTENSION", "FOREIGN TABLE", "COLLATION":
		p.gone.objects[o.key()] = true
	default:
		p.take(o)
	}
}

// seedTable takes the columns of a table that stays, or all of it if it cannot stay.
func (p *planner) seedTable(c Change) {
	from, to := p.from.catalog.relations[c.From.oid], p.to.catalog.relations[c.To.oid]
	if from == nil || to == nil {
		return
	}
	if from.Kind != to.Kind || from.Key != to.Key || (from.Type == 0) != (to.Type == 0) {
		p.take(c.From)
		return
	}
	for _, a := range p.from.catalog.columns[from.OID] {
		self := node{class: classRelation, oid: from.OID, sub: a.Number}
		b := p.to.catalog.columnNamed(to.OID, a.Name)
		switch {
		case b == nil || regenerated(a, b):
			if !p.gone.columns[self] {
				p.gone.columns[self] = true
				p.visit(self, false)
			}
		case a.Type != b.Type || a.Collation != b.Collation:
			p.retype(self)
		}
	}
}

// regenerated reports whether a column has to be dropped and added again.
func regenerated(from, to *column) bool {
	return to.Generated != "" && (from.Generated != to.Generated || from.Default != to.Default)
}

// seedKeys lets a primary key stay until the one that takes its place is there.
func (p *planner) seedKeys() {
	for _, c := range p.changes {
		if c.To != nil || c.From.Type != "CONSTRAINT" || !p.swaps(c.From) {
			continue
		}
		k := p.from.catalog.constraints[c.From.oid]
		table := p.from.byNode[node{class: classRelation, oid: k.Table}]
		if k.Kind != "p" || p.to.byKey[table.key()] == nil {
			continue
		}
		for _, other := range p.to.catalog.constraints {
			if other.Kind == "p" && other.Table == p.to.byKey[table.key()].oid {
				p.gone.swapped[c.From.key()] = true
			}
		}
	}
	for key := range p.gone.swapped {
		k := p.from.catalog.constraints[p.from.byKey[key].oid]
		if p.from.byKey[key].Type != "CONSTRAINT" || k == nil {
			continue
		}
		for _, number := range k.Columns { // it goes with its column
			if p.gone.columns[node{class: classRelation, oid: k.Table, sub: int32(number)}] {
				delete(p.gone.swapped, key)
			}
		}
	}
}

// swaps reports whether the new form of an index or key can be built while the old one is there.
func (p *planner) swaps(o *Object) bool {
	var table uint32
	switch o.Type {
	case "INDEX":
		r := p.from.catalog.relations[o.oid]
		if r == nil || r.Kind != "i" || r.Partition {
			return false
		}
		table = r.IndexOf
	case "CONSTRAINT":
		k := p.from.catalog.constraints[o.oid]
		if k == nil || k.Kind == "x" || k.OnPartitioned || k.Inherited > 0 {
			return false
		}
		table = k.Table
	default:
		return false
	}
	t := p.from.byNode[node{class: classRelation, oid: table}]
	if to := p.to.byKey[o.key()]; t != nil && to != nil {
		r, owner := p.to.catalog.relations[to.oid], p.to.ownerOf(to)
		if owner == nil || owner.key() != t.key() || o.Type == "INDEX" && (r.Kind != "i" || r.Partition) {
			return false
		}
	}
	return t != nil && t.Type == "TABLE" && !p.gone.objects[t.key()] && p.to.byKey[t.key()] != nil
}
