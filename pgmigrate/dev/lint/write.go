package lint

import (
	"fmt"
	"slices"
	"strings"
)

// writes reports dangerous changes of rows.
func (j *judge) writes() {
	j.parsed.each("TruncateStmt", func(n node) {
		for _, v := range n.list("relations") {
			for _, r := range j.named(rangeVar(asNode(v).node("RangeVar"))) {
				j.add(
					"truncate",
					fmt.Sprintf("deletes all rows of %s", r),
					"Delete in batches what is not needed; or, if nobody uses the table any more, drop it.",
				)
			}
		}
	})
	if !j.parsed.runsQueries() {
		return
	}
	var targets []*relation
	report := func(n node, verb string, whole bool) {
		for _, r := range j.named(rangeVar(n.node("relation"))) {
			if j.obs.inTransaction && j.obs.locks[r.OID] < rowExclusive {
				continue // another one of the same name
			}
			targets = append(targets, r)
			if whole {
				j.add("write-without-where", fmt.Sprintf("%s every row of %s", verb, r), writeFix)
			}
		}
	}
	j.parsed.each("UpdateStmt", func(n node) {
		report(n, "updates", j.wholeTable(n.node("whereClause"), n.list("fromClause")))
	})
	j.parsed.each("DeleteStmt", func(n node) {
		report(n, "deletes", j.wholeTable(n.node("whereClause"), n.list("usingClause")))
	})
	j.parsed.each("MergeStmt", func(n node) {
		report(n, "merges into", j.mergesWholeTable(n))
	})
	j.parsed.each("InsertStmt", func(n node) { report(n, "", false) })
	j.wroteRows = j.wroteRows || len(targets) > 0
	j.hiddenWrites(targets)
	if held := j.lockedBefore(); held != nil && j.changesRows() {
		if read := j.readTable(); read != nil {
			j.add(
				"backfill-in-ddl-transaction",
				fmt.Sprintf(
					"reads all of %s to change rows while the transaction holds %s on %s",
					read,
					j.obs.held[held.OID],
					held,
				),
				"Change the rows in a migration of its own, after this one.",
			)
		}
	}
}

func (j *judge) changesRows() bool {
	changes := false
	for _, kind := range []string{"UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt"} {
		j.parsed.each(kind, func(node) { changes = true })
	}
	return changes
}

// readTable returns an existing table of which the statement began a scan.
func (j *judge) readTable() *relation {
	for _, oid := range sortedKeys(j.obs.scanned) {
		if r := j.existing(oid); r != nil && r.table() {
			return r
		}
	}
	return nil
}

const writeFix = "Change the rows in batches, each in a transaction of its own: by a backfill, a file in backfills/, " +
	"for which a later migration waits with -- pgmigrate:requires-backfill NAME."

// hiddenWrites reports tables that the statement scanned and locked for writing although no parsed
// statement writes to them: a trigger or dynamic SQL did.
func (j *judge) hiddenWrites(targets []*relation) {
	for _, oid := range sortedKeys(j.obs.scanned) {
		table := j.existing(oid)
		if table == nil || !table.table() || j.obs.locks[oid] != rowExclusive ||
			j.obs.held[oid] >= rowExclusive && !j.parsed.opaque {
			continue
		}
		if !slices.ContainsFunc(targets, func(r *relation) bool { return r.view() || j.family(r.OID, oid) }) {
			j.add(
				"write-without-where",
				fmt.Sprintf("reads all of %s to change rows, in a function, a trigger or dynamic SQL", table),
				writeFix,
			)
			return
		}
	}
}

// wholeTable reports whether UPDATE or DELETE reaches every row: without a condition, or with
// conditions that only join it to other tables as a whole.
func (j *judge) wholeTable(where node, sources []any) bool {
	if always(where) {
		return true
	}
	return len(sources) > 0 && j.onlyJoins(where) &&
		!slices.ContainsFunc(sources, func(s any) bool { return !j.unrestricted(asNode(s)) })
}

func (j *judge) mergesWholeTable(n node) bool {
	whole := false
	for _, v := range n.list("mergeWhenClauses") {
		c := asNode(v).node("MergeWhenClause")
		changes := c.text("commandType") == "CMD_UPDATE" || c.text("commandType") == "CMD_DELETE"
		if !changes || !always(c.node("condition")) {
			continue
		}
		switch c.text("matchKind") {
		case "MERGE_WHEN_MATCHED":
			whole = whole || j.onlyJoins(n.node("joinCondition")) && j.unrestricted(n.node("sourceRelation"))
		case "MERGE_WHEN_NOT_MATCHED_BY_SOURCE":
			whole = true
		}
	}
	return whole
}

// onlyJoins reports whether a condition does nothing but compare columns of two tables.
func (j *judge) onlyJoins(where node) bool {
	if b := where.node("BoolExpr"); b != nil && b.text("boolop") == "AND_EXPR" {
		return !slices.ContainsFunc(b.list("args"), func(a any) bool { return !j.onlyJoins(asNode(a)) })
	}
	if always(where) {
		return true
	}
	e := where.node("A_Expr")
	if e == nil || e.text("kind") != "AEXPR_OP" || operator(e) != "=" {
		return false
	}
	left, right := e.node("lexpr").node("ColumnRef").list("fields"), e.node("rexpr").node("ColumnRef").list("fields")
	if len(left) == 0 || len(right) == 0 {
		return false
	}
	return len(left) == 1 || len(right) == 1 || lastName(left[:len(left)-1]) != lastName(right[:len(right)-1])
}

// unrestricted reports whether a source of rows is existing tables as a whole.
func (j *judge) unrestricted(source node) bool {
	switch {
	case source.node("RangeVar") != nil:
		return len(j.named(rangeVar(source.node("RangeVar")))) > 0
	case source.node("JoinExpr") != nil:
		join := source.node("JoinExpr")
		return j.unrestricted(join.node("larg")) && j.unrestricted(join.node("rarg")) &&
			(join.node("quals") == nil || j.onlyJoins(join.node("quals")))
	case source.node("RangeSubselect") != nil:
		query := source.node("RangeSubselect").node("subquery").node("SelectStmt")
		from := query.list("fromClause")
		return len(from) > 0 && query["limitCount"] == nil && query["havingClause"] == nil &&
			query["withClause"] == nil &&
			(query["whereClause"] == nil || j.onlyJoins(query.node("whereClause"))) &&
			!slices.ContainsFunc(from, func(s any) bool { return !j.unrestricted(asNode(s)) })
	default:
		return false
	}
}

func operator(expression node) string { return lastName(expression.list("name")) }

// always reports whether a condition is missing, or holds for every row.
func always(where node) bool {
	if where == nil {
		return true
	}
	if c := where.node("A_Const"); c != nil {
		return c.node("boolval").is("boolval")
	}
	if cast := where.node("TypeCast"); cast != nil { // 'true'::bool
		switch strings.ToLower(cast.node("arg").node("A_Const").node("sval").text("sval")) {
		case "t", "true", "on", "yes", "1":
			return true
		}
		return always(cast.node("arg"))
	}
	if b := where.node("BoolExpr"); b != nil {
		args := b.list("args")
		isAlways := func(a any) bool { return always(asNode(a)) }
		switch b.text("boolop") {
		case "AND_EXPR":
			return !slices.ContainsFunc(args, func(a any) bool { return !isAlways(a) })
		case "OR_EXPR":
			return slices.ContainsFunc(args, isAlways)
		default:
			c := asNode(args[0]).node("A_Const")
			return c != nil && c["boolval"] != nil && !c.node("boolval").is("boolval") // not false
		}
	}
	e := where.node("A_Expr")
	if e == nil || e.text("kind") != "AEXPR_OP" {
		return false
	}
	left, right := e.node("lexpr").node("A_Const"), e.node("rexpr").node("A_Const")
	if left == nil || right == nil || left["ival"] == nil || right["ival"] == nil {
		return false
	}
	l, r := intField(left.node("ival"), "ival"), intField(right.node("ival"), "ival")
	switch operator(e) {
	case "=":
		return l == r
	case "<>":
		return l != r
	case "<":
		return l < r
	case "<=":
		return l <= r
	case ">":
		return l > r
	case ">=":
		return l >= r
	default:
		return false
	}
}
