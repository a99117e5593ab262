package pgquerytest

import (
	"maps"
	"slices"

	"github.com/page-builder/persistence/pgquery/internal/decl"
)

// insert compares an insert with its table.
func (c *checker) insert() {
	c.Helper()
	t, err := c.catalog.table(c.d.Insert.Table)
	if err != nil {
		c.Fatalf("pgquerytest: %v", err)
	}
	for _, column := range c.d.Insert.Columns {
		piece := "Columns[" + column.Name + "]"
		if problem := c.catalog.argument(c.catalog.typ(t.types[column.Name]), column.Type); problem != "" {
			c.fail(piece, "%s", problem)
		}
		if column.Nullable && t.notNull[column.Name] {
			c.fail(piece, "the column is not null, and the field may be")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.types)) {
		given := slices.ContainsFunc(c.d.Insert.Columns, func(column decl.Column) bool { return column.Name == name })
		if t.notNull[name] && !t.hasDefault[name] && !given {
			c.fail("Columns", "column %q is missing: it is not null and has no default", name)
		}
	}
}
