package schema

import (
	"slices"
	"strings"
)

// model is one side of a comparison, with its indexes for lookups.
type model struct {
	dump     *Dump
	catalog  *catalog
	byKey    map[string]*Object
	byNode   map[node]*Object
	defaults map[uint32]*column
}

func newModel(d *Dump) *model {
	m := &model{
		dump: d, catalog: d.catalog, byKey: byKey(d), byNode: map[node]*Object{}, defaults: map[uint32]*column{},
	}
	for i := range d.Objects {
		if o := &d.Objects[i]; o.oid != 0 {
			m.byNode[node{class: o.class, oid: o.oid}] = o
		}
	}
	for _, columns := range m.catalog.columns {
		for _, a := range columns {
			if a.DefaultOID != 0 {
				m.defaults[a.DefaultOID] = a
			}
		}
	}
	return m
}

// ownerOf returns the relation or domain that an object is a part of.
func (m *model) ownerOf(o *Object) *Object {
	var table uint32
	switch {
	case o.Type == "INDEX":
		if r := m.catalog.relations[o.oid]; r != nil {
			table = r.IndexOf
		}
	case o.class == classConstraint:
		if k := m.catalog.constraints[o.oid]; k != nil {
			if k.Domain != 0 {
				return m.byNode[node{class: classType, oid: k.Domain}]
			}
			table = k.Table
		}
	case o.class == classDefault:
		if a := m.defaults[o.oid]; a != nil {
			table = a.Relation
		}
	}
	if table != 0 {
		return m.byNode[node{class: classRelation, oid: table}]
	}
	switch o.Type {
	case "TRIGGER", "RULE", "POLICY", "ROW SECURITY", "TABLE ATTACH", "INDEX ATTACH", "STATISTICS":
	default:
		return nil
	}
	for _, key := range o.uses {
		x := m.byKey[key]
		if x == nil || x.Schema != o.Schema && o.Type != "STATISTICS" {
			continue
		}
		switch x.Type {
		case "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "INDEX":
			if o.Type == "STATISTICS" || o.Name == x.Name || strings.HasPrefix(o.Name, x.Name+" ") {
				return x
			}
		}
	}
	return nil
}

func keyOfSequence(o *Object) string {
	for _, key := range o.uses {
		if strings.HasPrefix(key, "SEQUENCE\x00") {
			return key
		}
	}
	return ""
}

// survives reports whether an object of the new schema is the old one, not a replacement.
func (p *planner) survives(o *Object) bool {
	return p.from.byKey[o.key()] != nil && !p.gone.objects[o.key()]
}

// hasColumns reports whether columns are of the type.
func (p *planner) hasColumns(o *Object) bool {
	return slices.ContainsFunc(p.from.catalog.dependents[node{class: classType, oid: o.oid}], func(d node) bool {
		return d.class == classRelation && d.sub != 0
	})
}

// indexOf returns the name of an index, or of the one that a key has; "" for foreign keys.
func (m *model) indexOf(o *Object) string {
	oid := o.oid
	if o.class == classConstraint {
		k := m.catalog.constraints[o.oid]
		if k == nil || k.Kind == "f" {
			return ""
		}
		oid = k.Index
	}
	if r := m.catalog.relations[oid]; r != nil {
		return r.Name
	}
	return ""
}

// entryOf returns the entry of a column's default that pg_dump writes apart from its table.
func (m *model) entryOf(a *column) *Object {
	if a.DefaultOID == 0 {
		return nil
	}
	return m.byNode[node{class: classDefault, oid: a.DefaultOID}]
}

func (p *planner) ofGoneTable(oid uint32) bool {
	o := p.from.byNode[node{class: classRelation, oid: oid}]
	return o != nil && p.gone.objects[o.key()]
}
