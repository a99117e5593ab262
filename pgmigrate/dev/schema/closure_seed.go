package schema

import (
	"regexp"
	"slices"
	"strings"
)

// seed begins the closure with the objects that the changes themselves drop, retype or create
// again.
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
				p.refuse(c, "a base type cannot be created again while its functions exist")
			case rangeType.MatchString(c.From.SQL[0]) && rangeType.MatchString(c.To.SQL[0]):
				if p.hasColumns(c.From) {
					p.refuse(c, "a range type that has columns cannot be dropped and created again")
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

// namespaced says which kinds of objects share a namespace.
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

// seedKeys keeps a primary key until its replacement exists.
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

// swaps reports whether the new form of an index or key can be built while the old one exists.
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
