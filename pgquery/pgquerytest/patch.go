package pgquerytest

import (
	"slices"
	"strings"
)

// patch checks a patch: no column, each one, each two and all of them.
func (c *checker) patch() {
	c.Helper()
	p := c.d.Patch
	read := p.Text(nil)
	d := c.try("Returning", read)
	if d == nil {
		return
	}
	c.columns("Returning", d)
	if p.Version != "" && c.try("Version", p.Conflict) == nil {
		return
	}
	c.patchTable()
	var columns []string
	for i := range p.Columns {
		if c.try("Columns["+p.Columns[i]+"]", p.Text(p.Columns[i:i+1])) != nil {
			columns = append(columns, p.Columns[i])
		}
	}
	for i := range columns {
		for j := range columns[:i] {
			if c.texts < maxTexts {
				c.try("Columns["+columns[j]+"] with "+columns[i], p.Text([]string{columns[j], columns[i]}))
			}
		}
	}
	c.try("Columns", p.Text(columns))
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
	for _, column := range p.Columns {
		for _, a := range c.d.Args {
			if c.d.IsArgument(a.Name, column) && t.notNull[column] != a.NotNull {
				problem := `the column is not null: write notnull into its tag, as in db:"` + column + `,notnull"`
				if a.NotNull {
					problem = "the column may be null, and the field's tag says notnull"
				}
				c.fail("Columns["+column+"]", "%s", problem)
			}
		}
	}
	if oid := t.types[p.Version]; p.Version != "" && (integers[c.catalog.typ(oid).name] == 0 || !t.notNull[p.Version]) {
		c.fail("Version", "column %s is not an integer that is not null", p.Version)
	}
	unique := slices.ContainsFunc(t.unique, func(i index) bool {
		return !slices.ContainsFunc(i.columns, func(column string) bool {
			return !slices.Contains(p.Equals, strings.ToLower(column))
		})
	})
	if !unique {
		c.fail("Where", "may find several rows: compare all columns of a unique index of %s with arguments", p.Table)
	}
}
