package schema

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// aspect is a property of an object that one statement sets.
type aspect struct {
	set     string
	reset   string // to PostgreSQL's default; "" if that is not known
	rewrite bool
}

const identifier = `(?:"(?:[^"]|"")+"|[^\s".(,;]+)`

var (
	createTable   = regexp.MustCompile(`^CREATE (UNLOGGED )?(TABLE|SEQUENCE) (` + identifier + `\.` + identifier + `)`)
	tableOptions  = regexp.MustCompile(`(?m)^WITH \((.*)\)$`)
	tableOption   = regexp.MustCompile(`([a-z_.]+)=('(?:[^']|'')*')`)
	columnSetting = regexp.MustCompile(`^(ALTER (?:FOREIGN )?(?:TABLE|INDEX)(?: ONLY)? ` + identifier + `\.` +
		identifier + ` ALTER COLUMN ` + identifier + `) SET (STATISTICS|STORAGE|COMPRESSION|\()(.*)$`)
	triggerState = regexp.MustCompile(`^(ALTER TABLE(?: ONLY)? ` + identifier + `\.` + identifier +
		`) (?:DISABLE|ENABLE ALWAYS|ENABLE REPLICA) TRIGGER (` + identifier + `)$`)
	clusterOn = regexp.MustCompile(`^(ALTER (?:TABLE|MATERIALIZED VIEW)(?: ONLY)? ` + identifier + `\.` +
		identifier + `) CLUSTER ON .*$`)
	forceSecurity = regexp.MustCompile(`^(ALTER TABLE(?: ONLY)? ` + qualified + `) FORCE ROW LEVEL SECURITY$`)
	identityRows  = regexp.MustCompile(`^(ALTER TABLE(?: ONLY)? ` + qualified + `) REPLICA IDENTITY (?:FULL|NOTHING)$`)
	identityIndex = regexp.MustCompile(`^(ALTER TABLE ONLY ` + identifier + `\.` + identifier +
		`) REPLICA IDENTITY USING INDEX .*$`)
)

// aspects takes an object apart: its properties by name, and the rest.
func (o Object) aspects() (known []string, found map[string]aspect) {
	found = map[string]aspect{}
	for i, sql := range o.SQL {
		if i == 0 {
			known = append(known, createdWithout(sql, found))
			if o.Type != "SEQUENCE" {
				continue
			}
		}
		if name, a, ok := readAspect(sql); ok {
			found[name] = a
		} else if i > 0 {
			known = append(known, sql)
		}
	}
	if o.Type == "TABLE" && len(known) > 0 {
		known[0] = sortedLines(known[0])
	}
	return known, found
}

// createdWithout takes UNLOGGED and storage parameters out of a CREATE TABLE.
func createdWithout(sql string, found map[string]aspect) string {
	match := createTable.FindStringSubmatch(sql)
	if match == nil {
		return sql
	}
	alter := "ALTER " + match[2] + " " + match[3]
	if match[1] != "" {
		found["unlogged"] = aspect{
			set: alter + " SET UNLOGGED", reset: alter + " SET LOGGED", rewrite: match[2] == "TABLE",
		}
		sql = "CREATE " + strings.TrimPrefix(sql, "CREATE UNLOGGED ")
	}
	if options := tableOptions.FindStringSubmatch(sql); match[2] == "TABLE" && options != nil {
		for _, option := range tableOption.FindAllStringSubmatch(options[1], -1) {
			found["option "+option[1]] = aspect{
				set: alter + " SET (" + option[0] + ")", reset: alter + " RESET (" + option[1] + ")",
			}
		}
		sql = strings.TrimSpace(tableOptions.ReplaceAllString(sql, ""))
	}
	return sql
}

func readAspect(sql string) (name string, a aspect, ok bool) {
	switch {
	case isOwner.MatchString(sql):
		object, _, _ := strings.Cut(sql, " OWNER TO ")
		return "owner", aspect{set: sql, reset: object + " OWNER TO CURRENT_ROLE"}, true
	case columnSetting.MatchString(sql):
		match := columnSetting.FindStringSubmatch(sql)
		a = aspect{set: sql}
		switch match[2] {
		case "STATISTICS":
			a.reset = match[1] + " SET STATISTICS -1"
		case "COMPRESSION":
			a.reset = match[1] + " SET COMPRESSION default"
		case "(":
			var names []string
			for _, option := range strings.Split(strings.TrimSuffix(match[3], ")"), ",") {
				name, _, _ := strings.Cut(strings.TrimSpace(option), "=")
				names = append(names, name)
			}
			a.reset = match[1] + " RESET (" + strings.Join(names, ", ") + ")"
		}
		return match[1] + match[2], a, true
	case triggerState.MatchString(sql):
		match := triggerState.FindStringSubmatch(sql)
		return match[2], aspect{set: sql, reset: match[1] + " ENABLE TRIGGER " + match[2]}, true
	case clusterOn.MatchString(sql):
		return "cluster", aspect{set: sql, reset: clusterOn.ReplaceAllString(sql, "$1 SET WITHOUT CLUSTER")}, true
	case forceSecurity.MatchString(sql):
		reset := forceSecurity.ReplaceAllString(sql, "$1 NO FORCE ROW LEVEL SECURITY")
		return "force", aspect{set: sql, reset: reset}, true
	case identityRows.MatchString(sql):
		reset := identityRows.ReplaceAllString(sql, "$1 REPLICA IDENTITY DEFAULT")
		return "identity", aspect{set: sql, reset: reset}, true
	case identityIndex.MatchString(sql):
		return "identity", aspect{set: sql, reset: identityIndex.ReplaceAllString(sql, "$1 REPLICA IDENTITY DEFAULT")},
			true
	}
	return "", aspect{}, false
}

// changedAspects returns the statements for the properties that differ, and whether nothing else
// differs. from is the zero Object for a new object.
func changedAspects(from, to Object) (all bool, list []Statement) {
	fromKnown, fromAspects := from.aspects()
	toKnown, toAspects := to.aspects()
	slices.Sort(fromKnown)
	slices.Sort(toKnown)
	all = slices.Equal(fromKnown, toKnown)
	add := func(sql string, a aspect) {
		s := Statement{SQL: sql}
		if a.rewrite && len(from.SQL) > 0 {
			s.Hazards = []Hazard{hazardRewrite}
		}
		list = append(list, s)
	}
	for _, name := range slices.Sorted(maps.Keys(toAspects)) {
		a := toAspects[name]
		if fromAspects[name].set != a.set {
			add(a.set, a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fromAspects)) {
		a := fromAspects[name]
		if _, stays := toAspects[name]; stays {
			continue
		}
		if a.reset == "" {
			all = false
			continue
		}
		add(a.reset, a)
	}
	return all, list
}
