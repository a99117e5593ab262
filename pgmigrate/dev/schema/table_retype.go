package schema

func (t tableChange) changeType(a, b *column) {
	self := node{class: classRelation, oid: t.old.OID, sub: a.Number}
	replaced := t.gone.retyped[self] && a.Type == b.Type && a.Collation == b.Collation
	if !t.gone.retyped[self] || inherits(a, b) && t.isChild() {
		return
	}
	alter := t.alter + "ALTER COLUMN " + b.Name
	using, safe := t.using(a, b, replaced)
	if a.Default != "" && a.Generated == "" && !t.gone.defaults[self] && (a.Default != b.Default || using != "") {
		t.addSQL(alter + " DROP DEFAULT")
		t.gone.defaults[self] = true
	}
	sql := alter + " TYPE " + b.Type
	if b.Collation != "" {
		sql += " COLLATE " + b.Collation
	}
	if using != "" {
		sql += " USING " + using
	}
	var hazards []Hazard
	if !keepsTable(a, b) {
		rewrite := hazardRewrite
		rewrite.Message += " Where the table is large, let pgmigrate new --expand type write the files instead."
		hazards = append(hazards, rewrite)
	}
	if !safe {
		hazards = append(hazards, hazardNarrows)
	}
	t.addSQL(sql, hazards...)
}

// using returns the expression that turns the old values into new ones, "" if PostgreSQL finds it,
// and whether every value survives as it is.
func (t tableChange) using(a, b *column, replaced bool) (expression string, lossless bool) {
	if replaced {
		return b.Name + "::text::" + b.Type, false
	}
	source, target := t.planner.from.catalog.base(a.TypeOID), t.planner.to.catalog.base(b.TypeOID)
	lossless = widens(source, target, a.Modifier, b.Modifier)
	if source == target && source != 0 {
		return "", lossless || a.Modifier == b.Modifier
	}
	st, tt := t.planner.from.catalog.types[source], t.planner.to.catalog.types[target]
	if source < firstUserOID && target < firstUserOID {
		switch kind := t.planner.to.catalog.casts[[2]uint32{source, target}]; {
		case kind == "i" || kind == "a":
			return "", lossless
		case kind == "e" || st != nil && st.Category == "S":
			return b.Name + "::" + b.Type, lossless
		}
	}
	if tt != nil && tt.Category == "S" && target < firstUserOID {
		return "", b.Modifier < 0
	}
	if st != nil && st.Category == "S" {
		return b.Name + "::" + b.Type, false
	}
	return b.Name + "::text::" + b.Type, false
}

// base returns the base type of a domain, and any other type unchanged.
func (c *catalog) base(oid uint32) uint32 {
	for range 16 {
		t := c.types[oid]
		if t == nil || t.Kind != "d" {
			break
		}
		oid = t.Base
	}
	return oid
}

// OIDs of built-in types.
const (
	int2OID, int4OID, int8OID, numericOID = 21, 23, 20, 1700
	float4OID, float8OID                  = 700, 701
	textOID, varcharOID                   = 25, 1043
)

// widens reports whether every value of the first type is also a value of the second.
func widens(from, to uint32, fromModifier, toModifier int32) bool {
	isText := from == textOID || from == varcharOID
	if isText && (to == textOID || to == varcharOID && toModifier < 0) {
		return true
	}
	if from == to {
		return toModifier < 0 || fromModifier == toModifier ||
			from == varcharOID && fromModifier >= 0 && toModifier >= fromModifier
	}
	rank := map[uint32]int{int2OID: 1, int4OID: 2, int8OID: 3, numericOID: 4}
	if rank[from] > 0 && rank[to] > rank[from] {
		return to != numericOID || toModifier < 0
	}
	return from == float4OID && to == float8OID
}

// keepsTable reports whether PostgreSQL changes the type without rewriting the table.
func keepsTable(a, b *column) bool {
	text := func(oid uint32) bool { return oid == textOID || oid == varcharOID }
	return text(a.TypeOID) && text(b.TypeOID) && widens(a.TypeOID, b.TypeOID, a.Modifier, b.Modifier)
}
