package schema

import "slices"

// touches reports whether a table that did not change itself has parts that were unset or have to
// take another type.
func (p *planner) touches(o *Object) bool {
	to := p.to.byKey[o.key()]
	for _, a := range p.from.catalog.columns[o.oid] {
		self := node{class: classRelation, oid: o.oid, sub: a.Number}
		b := p.to.catalog.columnNamed(to.oid, a.Name)
		if p.gone.columns[self] || p.gone.retyped[self] || p.gone.defaults[self] || b != nil && a.Default != b.Default {
			return true
		}
	}
	from := p.from.catalog.checks[o.oid]
	return len(from) != len(p.to.catalog.checks[to.oid]) || slices.ContainsFunc(from, func(k *constraint) bool {
		other := p.to.catalog.checkNamed(to.oid, k.Name)
		return p.gone.checks[k.OID] || other == nil || other.Definition != k.Definition
	})
}

// tableChange is a table while it is altered.
type tableChange struct {
	*planner
	from, to *Object
	old, new *relation
	alter    string // ALTER TABLE and its name
}

// alterTable changes a table at its place in the new order: the functions and types that its parts
// need are there by then.
func (p *planner) alterTable(from, to *Object) {
	t := tableChange{
		planner: p, from: from, to: to, old: p.from.catalog.relations[from.oid], new: p.to.catalog.relations[to.oid],
	}
	t.alter = "ALTER TABLE " + t.new.Name + " "
	t.leaveParents()
	t.dropChecks()
	t.dropColumns()
	for _, b := range p.to.catalog.columns[t.new.OID] {
		t.column(b)
	}
	for _, k := range p.to.catalog.checks[t.new.OID] {
		t.addCheck(k)
	}
	t.joinParents()
	_, list := changedAspects(*from, *to)
	p.add(list...)
	for _, b := range p.to.catalog.columns[t.new.OID] {
		a := p.from.catalog.columnNamed(t.old.OID, b.Name)
		if a != nil && a.Type == b.Type && a.Storage != b.Storage && b.Storage == b.TypeStorage {
			p.addSQL("ALTER TABLE ONLY " + t.new.Name + " ALTER COLUMN " + b.Name +
				" SET STORAGE " + storages[b.Storage])
		}
	}
}

// storages maps pg_attribute.attstorage to PostgreSQL's words.
var storages = map[string]string{"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}

func (t tableChange) parentNames(m *model, r *relation) (names []string) {
	if r.Partition {
		return nil
	}
	for _, oid := range r.Parents {
		if x := m.catalog.relations[oid]; x != nil {
			names = append(names, x.Name)
		}
	}
	return names
}

func (t tableChange) leaveParents() {
	stay := t.parentNames(t.planner.to, t.new)
	for _, name := range t.parentNames(t.planner.from, t.old) {
		if !slices.Contains(stay, name) {
			t.addSQL(t.alter + "NO INHERIT " + name)
		}
	}
}

func (t tableChange) joinParents() {
	had := t.parentNames(t.planner.from, t.old)
	for _, name := range t.parentNames(t.planner.to, t.new) {
		if !slices.Contains(had, name) {
			t.finishes = append(t.finishes, Statement{SQL: t.alter + "INHERIT " + name}) // its checks are valid by then
		}
	}
}

// inherits reports whether a column of the table comes from its parents on both sides. The parents'
// statement changes it here too.
func inherits(a, b *column) bool { return a.Inherited > 0 && b.Inherited > 0 }

func (t tableChange) dropColumns() {
	for _, a := range t.planner.from.catalog.columns[t.old.OID] {
		self := node{class: classRelation, oid: t.old.OID, sub: a.Number}
		if !t.gone.columns[self] || a.Inherited > 0 && t.isChild() {
			continue
		}
		t.addSQL(t.alter+"DROP COLUMN "+a.Name, Hazard{deletesData, "Deletes all values in the column"})
	}
}

// isChild reports whether the table stays the child of a parent.
func (t tableChange) isChild() bool { return len(t.old.Parents) > 0 && len(t.new.Parents) > 0 }
