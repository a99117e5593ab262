package lint

import (
	"fmt"
	"strings"
)

// sequences reports sequences that were set to another number.
func (j *judge) sequences() {
	report := func(name string) {
		j.add(
			"sequence-reset",
			fmt.Sprintf("sets %s to another number", name),
			"Set it while nothing inserts, to a number above every row's. A higher number is safe at "+
				"any time: select setval(…, NUMBER).",
		)
	}
	j.parsed.each("AlterSeqStmt", func(n node) {
		if !hasOption(n.list("options"), "restart") {
			return
		}
		for _, r := range j.named(rangeVar(n.node("sequence"))) {
			report(r.String())
		}
	})
	j.parsed.each("AlterTableStmt", func(n node) {
		each(n.list("cmds"), "AlterTableCmd", func(c node) {
			if c.text("subtype") != "AT_SetIdentity" ||
				!hasOption(c.node("def").node("List").list("items"), "restart") {
				return
			}
			for _, r := range j.named(rangeVar(n.node("relation"))) {
				report(fmt.Sprintf("the sequence of %s of %s", quote(c.text("name")), r))
			}
		})
	})
	if !j.parsed.runsQueries() {
		return
	}
	j.parsed.each("FuncCall", func(n node) {
		args := n.list("args")
		if lastName(n.list("funcname")) != "setval" || len(args) == 0 {
			return
		}
		name, isSequence := sequenceArgument(asNode(args[0]))
		schema, last := "", name
		if before, after, ok := strings.Cut(name, "."); ok {
			schema, last = strings.Trim(before, `"`), after
		}
		last = strings.Trim(last, `"`)
		switch {
		case name == "":
			report("a sequence")
		case len(j.named(schema, last)) > 0 && isSequence:
			report(name)
		case len(j.named(schema, last)) > 0:
			report("the sequence of " + name)
		}
	})
}

// sequenceArgument returns the literal that names a sequence, or the table of
// pg_get_serial_sequence; "" if there is none.
func sequenceArgument(n node) (name string, isSequence bool) {
	if cast := n.node("TypeCast"); cast != nil {
		return sequenceArgument(cast.node("arg"))
	}
	if call := n.node("FuncCall"); call != nil && lastName(call.list("funcname")) == "pg_get_serial_sequence" &&
		len(call.list("args")) > 0 {
		name, _ = sequenceArgument(asNode(call.list("args")[0]))
		return name, false
	}
	return n.node("A_Const").node("sval").text("sval"), true
}
