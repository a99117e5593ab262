package schema

import (
	"slices"
	"strings"
)

// findRenames removes pairs of indexes and constraints of one table that differ only in name.
func (p *planner) findRenames() {
	taken := map[string]bool{} // names that the old schema uses for something else
	for _, r := range p.from.catalog.relations {
		taken[r.Name] = true
	}
	for _, c := range p.changes {
		if c.To != nil {
			continue
		}
		form := p.from.formOf(c.From)
		if form == "" {
			continue
		}
		for _, n := range p.changes {
			if n.From != nil || p.renamed[n.To.key()] || n.To.Type != c.From.Type || p.to.formOf(n.To) != form {
				continue
			}
			if len(c.From.SQL) != len(n.To.SQL) || taken[p.to.indexOf(n.To)] {
				continue
			}
			p.renamed[c.From.key()], p.renamed[n.To.key()] = true, true
			if c.From.Type == "INDEX" {
				p.addSQL("ALTER INDEX " + p.from.catalog.relations[c.From.oid].Name + " RENAME TO " +
					lastQuoted(p.to.catalog.relations[n.To.oid].Name))
			} else {
				k := p.from.catalog.constraints[c.From.oid]
				table := p.from.catalog.relations[k.Table].Name
				p.addSQL("ALTER TABLE " + table + " RENAME CONSTRAINT " + k.Name + " TO " +
					p.to.catalog.constraints[n.To.oid].Name)
			}
			break
		}
	}
	p.changes = slices.DeleteFunc(slices.Clone(p.changes), func(c Change) bool {
		return (c.From == nil || c.To == nil) && p.renamed[c.Object().key()]
	})
}

// formOf returns the definition of an index or constraint without its name, "" for kinds that are
// not renamed.
func (m *model) formOf(o *Object) string {
	switch o.Type {
	case "INDEX":
		r := m.catalog.relations[o.oid]
		if r == nil || r.Partition || r.Kind != "i" {
			return ""
		}
		at := strings.Index(o.SQL[0], " "+lastQuoted(r.Name)+" ON ")
		if at < 0 {
			return ""
		}
		return o.SQL[0][:at] + o.SQL[0][at+len(lastQuoted(r.Name))+1:]
	case "CONSTRAINT", "FK CONSTRAINT":
		k := m.catalog.constraints[o.oid]
		if k == nil || k.Parent != 0 || m.catalog.relations[k.Table] == nil {
			return ""
		}
		return m.catalog.relations[k.Table].Name + " " + k.Definition
	}
	return ""
}
