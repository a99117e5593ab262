package pgquerytest

// patch checks a patch: no column, each one, each pair and all of them.
func (c *checker) patch() {
	c.Helper()
	p := c.d.Patch
	t := p.Text(0)
	d := c.try("Returning", t)
	if d == nil {
		return
	}
	c.columns("Returning", t, d, c.explain(len(d.ParamOIDs)))
	if p.Conflict != nil && c.try("Version", p.Conflict) == nil {
		return
	}
	c.patchTable()
	all := uint64(0)
	for i, column := range p.Columns {
		piece := "Columns[" + column + "]"
		if c.try(piece, p.Text(1<<i)) == nil {
			continue
		}
		for j := range i {
			if all&(1<<j) != 0 && c.texts < maxTexts {
				c.try(piece+" with "+p.Columns[j], p.Text(1<<i|1<<j))
			}
		}
		all |= 1 << i
	}
	c.try("Columns", p.Text(all))
	c.Logf("Patch %s: 2^%d texts, %d of them prepared", c.d.Name, len(p.Columns), c.texts)
}

// patchTable compares the patch with its table.
func (c *checker) patchTable() {
	c.Helper()
	p := c.d.Patch
	t, err := c.catalog.table(p.Table)
	if err != nil {
		c.Fatalf("pgquerytest: %v", err)
	}
	for i, column := range p.Columns {
		switch {
		case t.notNull[column] && !p.NotNull[i]:
			c.fail("Columns["+column+"]", `the column is not null: write notnull into its tag: db:"%s,notnull"`, column)
		case p.NotNull[i] && !t.notNull[column]:
			c.fail("Columns["+column+"]", "the column may be null, and the field's tag says notnull")
		}
	}
	if oid := t.types[p.Version]; p.Version != "" && (integers[c.catalog.typ(oid).name] == 0 || !t.notNull[p.Version]) {
		c.fail("Version", "column %s is not an integer that is not null", p.Version)
	}
	if c.ties(p.Rows, nil) != "" {
		c.fail("Where", "may find several rows: compare all columns of a unique index of %s with arguments", p.Table)
	}
}
