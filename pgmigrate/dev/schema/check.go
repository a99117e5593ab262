package schema

import (
	"fmt"
	"strings"
)

// rowsCheck finds rows by a condition on r, the table. It returns their primary keys.
func (p *planner) rowsCheck(table uint32, message, from, where string) Check {
	names := []string{"r.ctid"}
	for _, k := range p.to.catalog.constraints {
		if k.Kind == "p" && k.Table == table {
			names = p.columnNames("r.", table, k.Columns)
		}
	}
	return Check{message, fmt.Sprintf("SELECT %s FROM %s r WHERE %s LIMIT 4", strings.Join(names, ", "), from, where)}
}

func (p *planner) columnNames(alias string, table uint32, numbers []int16) []string {
	var names []string
	for _, number := range numbers {
		names = append(names, alias+p.to.catalog.column(table, int32(number)).Name)
	}
	return names
}

// ruleCheck finds the rows that a CHECK constraint does not allow.
func (p *planner) ruleCheck(k *constraint) Check {
	table := p.to.catalog.relations[k.Table].Name
	condition, noInherit := strings.CutSuffix(strings.TrimSuffix(k.Definition, " NOT VALID"), " NO INHERIT")
	from := table
	if noInherit {
		from = "ONLY " + table
	}
	return p.rowsCheck(k.Table, fmt.Sprintf("rows of %s break the check %s", table, k.Name), from,
		"NOT "+strings.TrimPrefix(condition, "CHECK "))
}

// referenceCheck finds rows with a foreign key that refers to nothing. It needs types with
// PostgreSQL's own equality, because the search path decides what the operator means.
func (p *planner) referenceCheck(k *constraint) Check {
	for _, number := range k.Columns {
		oid := p.to.catalog.base(p.to.catalog.column(k.Table, int32(number)).TypeOID)
		if t := p.to.catalog.types[oid]; oid >= firstUserOID && (t == nil || t.Kind != "e") {
			return Check{}
		}
	}
	names := p.columnNames("r.", k.Table, k.Columns)
	var where, same []string
	for i, foreign := range p.columnNames("f.", k.ForeignTable, k.ForeignColumns) {
		where = append(where, names[i]+" IS NOT NULL")
		same = append(same, foreign+" = "+names[i])
	}
	table, foreign := p.to.catalog.relations[k.Table].Name, p.to.catalog.relations[k.ForeignTable].Name
	where = append(where, fmt.Sprintf("NOT EXISTS (SELECT FROM %s f WHERE %s)", foreign, strings.Join(same, " AND ")))
	return p.rowsCheck(k.Table, fmt.Sprintf("rows of %s refer to no row of %s", table, foreign), table,
		strings.Join(where, " AND "))
}

// uniqueCheck finds values that more than one row has.
func (p *planner) uniqueCheck(k *constraint) Check {
	names := p.columnNames("", k.Table, k.Columns)
	table, where := p.to.catalog.relations[k.Table].Name, ""
	if !strings.Contains(k.Definition, "NULLS NOT DISTINCT") {
		where = " WHERE " + strings.Join(names, " IS NOT NULL AND ") + " IS NOT NULL"
	}
	list := strings.Join(names, ", ")
	return Check{
		fmt.Sprintf("several rows of %s have the same %s", table, list),
		fmt.Sprintf("SELECT %s, count(*) FROM %s%s GROUP BY %s HAVING count(*) > 1 LIMIT 4", list, table, where, list),
	}
}
