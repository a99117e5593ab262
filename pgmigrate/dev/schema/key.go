package schema

import "strings"

// makeIndex builds an index. On a table in use it builds the index concurrently and keeps the old
// form until the new one is valid.
func (p *planner) makeIndex(o, old *Object, stays bool) {
	list := statements(o.SQL)
	r := p.to.catalog.relations[o.oid]
	if !stays || r == nil || r.Kind != "i" {
		p.add(list...)
		return
	}
	list[0].SQL = strings.Replace(list[0].SQL, "INDEX ", "INDEX CONCURRENTLY ", 1)
	if strings.HasPrefix(list[0].SQL, "CREATE UNIQUE ") {
		list[0].Hazards = []Hazard{hazardUnique}
	}
	if old == nil || !p.gone.swapped[old.key()] {
		if strings.HasPrefix(list[0].SQL, "CREATE INDEX ") && !r.Partition && len(list) == 1 {
			p.indexes = append(p.indexes, list...)
			return
		}
		p.add(list[0])
		p.addAspects(list[1:])
		return
	}
	name := shortName(unquote(lastQuoted(r.Name)), "_old")
	p.addSQL("ALTER INDEX " + r.Name + " RENAME TO " + name)
	p.add(list[0])
	p.addAspects(list[1:])
	p.addSQL("DROP INDEX CONCURRENTLY " + quoteIfNeeded(o.Schema) + "." + name)
}

// makeKey adds a primary key, a unique or an exclusion constraint. On a table in use its index is
// built first, without a lock, and takes the place of the old one in one transaction.
func (p *planner) makeKey(o, old *Object, stays bool) {
	k := p.to.catalog.constraints[o.oid]
	r := p.to.catalog.relations[k.Table]
	list := statements(o.SQL)
	var drops []Statement
	if k.Kind == "p" || old != nil {
		for _, x := range p.from.dump.Objects {
			f := p.from.catalog.constraints[x.oid]
			if x.Type != "CONSTRAINT" || !p.gone.swapped[x.key()] || f == nil ||
				p.from.catalog.relations[f.Table].Name != r.Name {
				continue
			}
			if x.key() == o.key() || k.Kind == "p" && f.Kind == "p" {
				drops = append(drops, p.dropOf(&x)...)
				drops[len(drops)-1].Hazards = nil
				delete(p.gone.swapped, x.key())
			}
		}
	}
	if stays && k.Kind == "p" {
		p.requireKeyed(k)
	}
	if !stays || k.Kind == "x" || k.OnPartitioned || k.IndexDefinition == "" ||
		strings.Contains(k.Definition, "WITHOUT OVERLAPS") {
		p.add(drops...)
		if stays {
			list[0].Hazards = append(list[0].Hazards, Hazard{
				"INDEX_BUILD", "Builds an index while the table is locked, and fails if rows violate it.",
			})
		}
		p.add(list...)
		return
	}
	name := k.Name
	if len(drops) > 0 && old != nil {
		name = shortName(unquote(k.Name), "_new")
	}
	index := p.to.catalog.relations[k.Index]
	definition := strings.Replace(k.IndexDefinition, " INDEX "+lastQuoted(index.Name)+" ON ",
		" INDEX CONCURRENTLY "+name+" ON ", 1)
	p.add(Statement{SQL: definition, Hazards: []Hazard{hazardUnique}, Check: p.uniqueCheck(k)})
	p.add(drops...)
	kind := "UNIQUE"
	if k.Kind == "p" {
		kind = "PRIMARY KEY"
	}
	sql := "ALTER TABLE " + r.Name + " ADD CONSTRAINT " + k.Name + " " + kind + " USING INDEX " + name
	if at := strings.Index(k.Definition, ") DEFERRABLE"); at >= 0 {
		sql += k.Definition[at+1:]
	}
	p.addSQL(sql)
	p.addAspects(list[1:])
}

// requireKeyed makes the columns of a primary key NOT NULL first, so that adding the key does not
// scan the table again.
func (p *planner) requireKeyed(k *constraint) {
	table := p.from.byKey[p.to.byNode[node{class: classRelation, oid: k.Table}].key()]
	for _, number := range k.Columns {
		a := p.from.catalog.columnNamed(table.oid, p.to.catalog.column(k.Table, int32(number)).Name)
		if a == nil || !a.NotNull {
			p.flush()
			return
		}
	}
}

// makeForeignKey adds a foreign key. On a table in use it validates the existing rows afterwards.
func (p *planner) makeForeignKey(o *Object, stays bool) {
	list := statements(o.SQL)
	k := p.to.catalog.constraints[o.oid]
	if !stays || k == nil || k.OnPartitioned || !k.Valid {
		p.add(list...)
		return
	}
	list[0].SQL += " NOT VALID"
	list[0].Hazards = append(list[0].Hazards,
		Hazard{"EXISTING_ROWS", "Rows that refer to nothing stop the VALIDATE that follows."})
	p.add(list...)
	p.validations = append(p.validations, Statement{
		SQL:   "ALTER TABLE " + p.to.catalog.relations[k.Table].Name + " VALIDATE CONSTRAINT " + k.Name,
		Check: p.referenceCheck(k),
	})
}
