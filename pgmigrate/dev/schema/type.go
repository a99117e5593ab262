package schema

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// restoreChecks restores a domain's checks that had to be dropped.
func (p *planner) restoreChecks(from, to *Object) {
	for _, k := range p.from.catalog.constraints {
		if k.Domain != from.oid || !p.gone.checks[k.OID] {
			continue
		}
		for _, x := range p.to.catalog.constraints {
			if x.Domain == to.oid && x.Name == k.Name && x.Kind == "c" {
				p.addSQL("ALTER DOMAIN " + to.qualified() + " ADD CONSTRAINT " + x.Name + " " + x.Definition)
			}
		}
	}
}

// droppedChecks returns the names of a domain's checks that are already dropped.
func (p *planner) droppedChecks(from *Object) map[string]bool {
	names := map[string]bool{}
	for _, k := range p.from.catalog.constraints {
		if k.Domain == from.oid && p.gone.checks[k.OID] {
			names[k.Name] = true
		}
	}
	return names
}

var (
	createEnum = regexp.MustCompile(`(?s)^CREATE TYPE (` + qualified + `) AS ENUM \((.*)\)$`)
	enumLabel  = regexp.MustCompile(`(?s)E?'(?:[^'\\]|''|\\.)*'`)
)

// alterEnum adds values in their places. It returns false if anything else differs.
func alterEnum(from, to string) (list []Statement, ok bool) {
	f, t := createEnum.FindStringSubmatch(from), createEnum.FindStringSubmatch(to)
	if f == nil || t == nil {
		return nil, false
	}
	has, wanted := enumLabel.FindAllString(f[2], -1), enumLabel.FindAllString(t[2], -1)
	for i, label := range wanted {
		if slices.Contains(has, label) {
			continue
		}
		sql := "ALTER TYPE " + t[1] + " ADD VALUE " + label
		switch {
		case i > 0:
			sql += " AFTER " + wanted[i-1]
		case len(has) > 0:
			sql += " BEFORE " + has[0]
		}
		has = slices.Insert(has, slices.Index(has, previous(wanted, i))+1, label)
		list = append(list, Statement{SQL: sql})
	}
	return list, slices.Equal(has, wanted)
}

func previous(list []string, i int) string {
	if i == 0 {
		return ""
	}
	return list[i-1]
}

var (
	createDomain     = regexp.MustCompile(`^CREATE DOMAIN (` + qualified + `) AS (.+?)( NOT NULL)?( DEFAULT (.+?))?$`)
	domainConstraint = regexp.MustCompile(`^CONSTRAINT (` + identifier + `) `)
	createComposite  = regexp.MustCompile(`^CREATE TYPE (` + qualified + `) AS \(`)
	attribute        = regexp.MustCompile(`^(` + identifier + `) (.+)$`)
)

// alterDomain changes everything but a domain's type. It returns false if the type differs.
func alterDomain(from, to string, dropped map[string]bool) (list []Statement, ok bool) {
	fromHead, fromConstraints := domainParts(from)
	toHead, toConstraints := domainParts(to)
	f, t := createDomain.FindStringSubmatch(fromHead), createDomain.FindStringSubmatch(toHead)
	if f == nil || t == nil || f[2] != t[2] {
		return nil, false
	}
	alter := "ALTER DOMAIN " + t[1] + " "
	add := func(sql string) { list = append(list, Statement{SQL: alter + sql}) }
	for _, name := range slices.Sorted(maps.Keys(fromConstraints)) {
		if toConstraints[name] != fromConstraints[name] && !dropped[name] {
			add("DROP CONSTRAINT " + name)
		}
	}
	switch {
	case f[4] == t[4]:
	case t[4] == "":
		add("DROP DEFAULT")
	default:
		add("SET DEFAULT " + t[5])
	}
	switch {
	case f[3] == t[3]:
	case t[3] == "":
		add("DROP NOT NULL")
	default:
		add("SET NOT NULL")
	}
	for _, name := range slices.Sorted(maps.Keys(toConstraints)) {
		if fromConstraints[name] != toConstraints[name] && !dropped[name] {
			add("ADD " + toConstraints[name])
		}
	}
	return list, true
}

func domainParts(sql string) (head string, constraints map[string]string) {
	lines := strings.Split(sql, "\n\t")
	constraints = map[string]string{}
	for _, line := range lines[1:] {
		if m := domainConstraint.FindStringSubmatch(line); m != nil {
			constraints[m[1]] = line
		}
	}
	return lines[0], constraints
}

// alterComposite changes the attributes of a composite type. It cannot change other kinds of types.
func alterComposite(from, to string) (list []Statement, ok bool) {
	name := createComposite.FindStringSubmatch(to)
	if name == nil || !createComposite.MatchString(from) {
		return nil, false
	}
	fromNames, fromTypes := attributes(from)
	toNames, toTypes := attributes(to)
	alter := "ALTER TYPE " + name[1] + " "
	for _, a := range fromNames {
		if toTypes[a] == "" {
			list = append(list,
				Statement{
					SQL:     alter + "DROP ATTRIBUTE " + a,
					Hazards: []Hazard{{deletesData, "The values of the attribute are lost."}},
				})
		}
	}
	for _, a := range toNames {
		switch fromTypes[a] {
		case toTypes[a]:
		case "":
			list = append(list, Statement{SQL: alter + "ADD ATTRIBUTE " + a + " " + toTypes[a]})
		default:
			list = append(list, Statement{SQL: alter + "ALTER ATTRIBUTE " + a + " TYPE " + toTypes[a]})
		}
	}
	return list, true
}

func attributes(sql string) (names []string, types map[string]string) {
	types = map[string]string{}
	lines := strings.Split(sql, "\n")
	for _, line := range lines[1:] {
		if m := attribute.FindStringSubmatch(strings.TrimSuffix(strings.TrimSpace(line), ",")); m != nil {
			names = append(names, m[1])
			types[m[1]] = m[2]
		}
	}
	return names, types
}
