package lint

import (
	"fmt"
	"strings"
)

// commands reports statements that are dangerous in themselves.
func (j *judge) commands() {
	p := j.parsed
	p.each("LockStmt", func(n node) {
		mode := lockMode(intField(n, "mode"))
		for _, v := range n.list("relations") {
			for _, r := range j.named(rangeVar(asNode(v).node("RangeVar"))) {
				if mode.blocksWrites() {
					j.add("lock-table", fmt.Sprintf("locks %s in %s mode", r, mode),
						"Lock rows (SELECT … FOR UPDATE), or change the data in batches without a table lock.")
				}
			}
		}
	})
	p.each("VacuumStmt", func(n node) {
		if n.is("is_vacuumcmd") && hasOption(n.list("options"), "full") {
			j.add("vacuum-full", "rewrites tables", "VACUUM without FULL, or pg_repack, which works beside queries.")
		}
	})
	p.each("ClusterStmt", func(n node) {
		relation := n.node("relation")
		if relation == nil || len(j.named(rangeVar(relation))) > 0 {
			j.add("cluster", "rewrites "+relationText(relation, "all clustered tables"),
				"pg_repack can order a table beside queries.")
		}
	})
	p.each("ReindexStmt", func(n node) {
		relation := n.node("relation")
		if !hasOption(n.list("params"), "concurrently") && (relation == nil || len(j.named(rangeVar(relation))) > 0) {
			j.add("reindex", "rebuilds the indexes of "+relationText(relation, "the whole database or schema"),
				disableTxNote+
					reindexWord.ReplaceAllString(j.statement.SQL, "${1} concurrently")+";")
		}
	})
	p.each("RefreshMatViewStmt", func(n node) {
		relation := n.node("relation")
		if !n.is("concurrent") && len(j.named(rangeVar(relation))) > 0 {
			j.add("refresh-materialized-view", "refreshes "+relationText(relation, ""),
				"refresh materialized view concurrently "+relationText(relation, "")+
					"; -- needs a unique index without WHERE")
		}
	})
	p.each("AlterSystemStmt", func(node) {
		j.add("alter-system", "changes the server's configuration",
			"Keep configuration with the server's; for one database: alter database … set …;")
	})
	p.each("DropdbStmt", func(node) { j.add("drop-database", "drops a database", "") })
	p.each("CreateEnumStmt", func(n node) { j.enums[typeName(n)] = true })
	p.each("AlterEnumStmt", func(n node) {
		if n.text("oldVal") != "" && !j.enums[typeName(n)] {
			j.add("rename-enum-value", fmt.Sprintf("renames %q of %s to %q", n.text("oldVal"),
				typeName(n), n.text("newVal")),
				fmt.Sprintf("alter type %s add value '%s'; -- then write it, and change the rows in batches",
					typeName(n), n.text("newVal")))
		}
	})
	p.each("VariableSetStmt", func(n node) {
		args := n.list("args")
		if strings.ToLower(n.text("name")) == "session_replication_role" && len(args) > 0 &&
			strings.ToLower(asNode(args[0]).node("A_Const").node("sval").text("sval")) == "replica" {
			j.add("disabled-trigger", "switches triggers and foreign keys off for the session",
				"Disable only the trigger that you need to, in a transaction that enables it again.")
		}
	})
}

func intField(n node, field string) int {
	f, _ := n[field].(float64)
	return int(f)
}

func relationText(n node, all string) string {
	if n == nil {
		return all
	}
	return qualified(rangeVar(n))
}

// typeName is the last part of a type's name.
func typeName(n node) string { return lastName(n.list("typeName")) }
