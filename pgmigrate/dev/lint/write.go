package lint

import "fmt"

// writes judges changes of rows.
func (j *judge) writes() {
	j.parsed.each("TruncateStmt", func(n node) {
		for _, v := range n.list("relations") {
			for _, r := range j.named(rangeVar(asNode(v).node("RangeVar"))) {
				j.add("truncate", fmt.Sprintf("deletes all rows of %s", r),
					"Delete in batches what is not needed; or, if nobody uses the table any more, drop it.")
			}
		}
	})
	if !j.runsQueries() {
		return
	}
	for _, w := range []struct{ kind, verb string }{{"UpdateStmt", "updates"}, {"DeleteStmt", "deletes"}} {
		j.parsed.each(w.kind, func(n node) {
			if !always(n.node("whereClause")) {
				return
			}
			for _, r := range j.named(rangeVar(n.node("relation"))) {
				if j.obs.inTransaction && j.obs.locks[r.OID] < rowExclusive {
					continue // another one of the same name
				}
				j.add("write-without-where", fmt.Sprintf("%s every row of %s", w.verb, r),
					"Change the rows in batches, each in a transaction of its own, from the application or in a "+
						"disable-tx migration.")
			}
		})
	}
	if held := j.lockedBefore(); held != nil && j.changesRows() {
		if read := j.readTable(); read != nil {
			j.add("backfill-in-ddl-transaction",
				fmt.Sprintf("reads all of %s to change rows while the transaction holds %s on %s", read,
					j.obs.held[held.OID], held),
				"Change the rows in a migration of its own, after this one.")
		}
	}
}

// runsQueries reports whether the statement runs what is in it, and does not only store it.
func (j *judge) runsQueries() bool {
	switch j.parsed.kind {
	case "UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt", "SelectStmt", "DoStmt", "CallStmt",
		"CreateTableAsStmt", "ExplainStmt":
		return true
	default:
		return false
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

// always reports whether a condition is missing, or holds for every row.
func always(where node) bool {
	if where == nil {
		return true
	}
	if c := where.node("A_Const"); c != nil {
		return c.node("boolval").is("boolval")
	}
	e := where.node("A_Expr")
	if e == nil || e.text("kind") != "AEXPR_OP" || len(e.list("name")) != 1 ||
		asNode(e.list("name")[0]).node("String").text("sval") != "=" {
		return false
	}
	left, right := e.node("lexpr").node("A_Const"), e.node("rexpr").node("A_Const")
	return left != nil && right != nil && left.node("ival") != nil && right.node("ival") != nil &&
		left.node("ival")["ival"] == right.node("ival")["ival"]
}
