package lint

import "fmt"

// access reports statements that take rows or rights away from connected roles.
func (j *judge) access() {
	for _, change := range j.changed() {
		before, after := change[0], change[1]
		if after == nil || !after.Secured || len(after.Policies) > 0 || before.Secured && len(before.Policies) == 0 {
			continue
		}
		statement := j.statement
		j.atEnd = append(j.atEnd, func() {
			if now := j.observer.relations[after.OID]; now != nil && now.Secured && len(now.Policies) == 0 {
				j.addAt(
					statement,
					"row-security-without-policy",
					fmt.Sprintf("leaves %s with row-level security and without a policy", now),
					fmt.Sprintf(
						"create policy NAME on %s using (CONDITION); -- in the same migration, before it is enabled",
						now,
					),
				)
			}
		})
	}
	j.parsed.each("GrantStmt", func(n node) {
		if !n.is("is_grant") && n.text("targtype") != "ACL_TARGET_DEFAULTS" && len(n.list("grantees")) > 0 {
			j.revokes(n)
		}
	})
	j.parsed.each("GrantRoleStmt", func(n node) {
		if !n.is("is_grant") {
			j.addRevoke("membership of a role")
		}
	})
}

func (j *judge) revokes(n node) {
	switch kind := n.text("objtype"); {
	case kind == "OBJECT_TABLE" || kind == "OBJECT_SEQUENCE":
		for oid, before := range j.obs.before {
			after, start := j.obs.after[oid], j.existing(oid)
			if after == nil || start == nil || before.ACL == after.ACL {
				continue
			}
			statement := j.statement
			j.atEnd = append(j.atEnd, func() {
				if now := j.observer.relations[oid]; now != nil && now.ACL != start.ACL {
					j.addAt(statement, "revoke", "revokes rights on "+now.String(), revokeFix)
				}
			})
		}
	case kind == "OBJECT_SCHEMA":
		for _, o := range n.list("objects") {
			if name := asNode(o).node("String").text("sval"); j.schemas[name] {
				j.addRevoke("rights on schema " + quote(name))
			}
		}
	case n.text("targtype") == "ACL_TARGET_OBJECT" &&
		(kind == "OBJECT_FUNCTION" || kind == "OBJECT_PROCEDURE" || kind == "OBJECT_ROUTINE" ||
			kind == "OBJECT_TYPE" || kind == "OBJECT_DOMAIN"):
		for _, o := range n.list("objects") {
			parts := nameParts(asNode(o))
			for _, existing := range j.objects {
				if len(parts) > 0 && existing.Name == parts[len(parts)-1] && !existing.Trigger {
					j.addRevoke("rights on " + existing.Kind + " " + existing.String())
				}
			}
		}
	default:
		j.addRevoke("rights")
	}
}

const revokeFix = "First release a version that does not need the right; then revoke it, with the allow comment."

func (j *judge) addRevoke(what string) { j.add("revoke", "revokes "+what, revokeFix) }
