package schema

import "strings"

// checkNamed returns a table's check.
func (c *catalog) checkNamed(table uint32, name string) *constraint {
	for _, k := range c.checks[table] {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// sameCheck compares two checks and ignores NOT VALID.
func sameCheck(a, b *constraint) bool {
	return strings.TrimSuffix(a.Definition, " NOT VALID") == strings.TrimSuffix(b.Definition, " NOT VALID")
}

func (t tableChange) dropChecks() {
	for _, k := range t.planner.from.catalog.checks[t.old.OID] {
		other := t.planner.to.catalog.checkNamed(t.new.OID, k.Name)
		stays := other != nil && sameCheck(k, other) && (other.Valid || !k.Valid)
		if k.Inherited > 0 && t.isChild() || t.gone.checks[k.OID] || stays {
			continue
		}
		if other == nil {
			if renamed := t.renamedCheck(k); renamed != nil {
				t.addSQL(t.alter + "RENAME CONSTRAINT " + k.Name + " TO " + renamed.Name)
				continue
			}
		}
		t.addSQL(t.alter + "DROP CONSTRAINT " + k.Name)
		t.gone.checks[k.OID] = true
	}
}

// renamedCheck returns the new check with the definition of a check that is gone.
func (t tableChange) renamedCheck(k *constraint) *constraint {
	for _, x := range t.planner.to.catalog.checks[t.new.OID] {
		isNew := t.planner.from.catalog.checkNamed(t.old.OID, x.Name) == nil && !t.checkRenamed[x.OID]
		if isNew && x.Definition == k.Definition && x.Local {
			t.checkRenamed[x.OID] = true
			return x
		}
	}
	return nil
}

func (t tableChange) addCheck(k *constraint) {
	if k.Inherited > 0 && t.isChild() || t.checkRenamed[k.OID] {
		return
	}
	old := t.planner.from.catalog.checkNamed(t.old.OID, k.Name)
	switch {
	case old == nil || t.gone.checks[old.OID]:
	case !old.Valid && k.Valid:
		t.validations = append(t.validations,
			Statement{SQL: t.alter + "VALIDATE CONSTRAINT " + k.Name, Check: t.ruleCheck(k)})
		return
	default:
		return
	}
	if o := t.planner.to.byNode[node{class: classConstraint, oid: k.OID}]; o != nil {
		t.force[o.key()] = true // at its own place, because something that it needs comes later
		return
	}
	t.check(t.alter, k)
}

// check adds a check to a table that is in use.
func (p *planner) check(alter string, k *constraint) {
	sql := alter + "ADD CONSTRAINT " + k.Name + " " + strings.TrimSuffix(k.Definition, " NOT VALID") + " NOT VALID"
	if !k.Valid {
		p.addSQL(sql)
		return
	}
	p.addSQL(sql, Hazard{"EXISTING_ROWS", "Rows that the check does not allow stop the VALIDATE that follows."})
	p.validations = append(p.validations,
		Statement{SQL: alter + "VALIDATE CONSTRAINT " + k.Name, Check: p.ruleCheck(k)})
}

// makeCheck adds a check that pg_dump writes apart from its table.
func (p *planner) makeCheck(o *Object) {
	k := p.to.catalog.constraints[o.oid]
	owner := p.to.ownerOf(o)
	if k == nil || owner == nil {
		p.add(statements(o.SQL)...)
		return
	}
	if p.from.byKey[owner.key()] != nil && !p.force[o.key()] && !p.checkGone(p.from.byKey[o.key()]) {
		return
	}
	p.check("ALTER TABLE "+p.to.catalog.relations[k.Table].Name+" ", k)
}

// checkGone reports whether a check was dropped and not yet created again.
func (p *planner) checkGone(old *Object) bool { return old != nil && p.gone.checks[old.oid] }
