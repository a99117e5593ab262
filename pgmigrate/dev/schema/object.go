package schema

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/page-builder/persistence/pgmigrate"
)

// Object is an entry of a dump.
type Object struct {
	Type   string // pg_dump's word for it, such as TABLE, FK CONSTRAINT, COMMENT or ACL
	Schema string // "-" if it is in none
	Name   string // such as "pages", "pages pages_pkey", "f(integer)", "COLUMN pages.title"
	SQL    []string

	Drop         string // the statement that drops it; "" for kinds that have none
	AccessMethod string // of a table, if it is not heap

	uses       []string // keys of the objects it depends on
	class, oid uint32   // in the server's catalogs
}

func (o Object) key() string { return o.Type + "\x00" + o.Schema + "\x00" + o.Name }

// String names the object for a person.
func (o Object) String() string {
	name := strings.ToLower(o.Type) + " " + o.Name
	if o.Schema != "-" && o.Schema != "public" && !strings.Contains(o.Name, " ") {
		name = strings.ToLower(o.Type) + " " + o.Schema + "." + o.Name
	}
	return name
}

// ownable lists the kinds with their own owner. A function's ALTER needs its arguments, which its
// DROP statement has.
var ownable = map[string]bool{
	"AGGREGATE": true, "FUNCTION": true, "OPERATOR": true, "OPERATOR CLASS": true, "OPERATOR FAMILY": true,
	"PROCEDURE": true,
	"COLLATION": true, "CONVERSION": true, "DOMAIN": true, "EVENT TRIGGER": true, "FOREIGN DATA WRAPPER": true,
	"FOREIGN TABLE": true, "MATERIALIZED VIEW": true, "PROCEDURAL LANGUAGE": true, "PUBLICATION": true, "SCHEMA": true,
	"SEQUENCE": true, "SERVER": true, "STATISTICS": true, "TABLE": true, "TEXT SEARCH CONFIGURATION": true,
	"TEXT SEARCH DICTIONARY": true, "TYPE": true, "VIEW": true,
}

// objects converts an archive's entries to objects.
func objects(entries []entry, n normalizer) []Object {
	var list []Object
	keys := map[string]string{}
	for _, e := range entries {
		keys[strconv.Itoa(e.number)] = Object{Name: e.tag, Type: e.kind, Schema: cmp.Or(e.schema, "-")}.key()
	}
	for _, e := range entries {
		o := Object{
			Name:   e.tag,
			Type:   e.kind,
			Schema: e.schema,
			Drop:   strings.TrimSuffix(strings.TrimSpace(e.drop), ";"),
			class:  e.class,
			oid:    e.oid,
		}
		o.Schema = cmp.Or(o.Schema, "-")
		for _, number := range e.dependencies {
			o.uses = append(o.uses, keys[number])
		}
		if leftOut(o) {
			continue
		}
		for _, sql := range splitEntry(e) {
			if sql, ok := n.normalize(sql); ok {
				o.SQL = append(o.SQL, sql)
			}
		}
		if len(o.SQL) == 0 {
			continue
		}
		if e.accessMethod != "" && e.accessMethod != "heap" {
			o.AccessMethod = e.accessMethod
		}
		if ownable[e.kind] && e.owner != "" && !n.noOwners && !slices.Contains(n.migrators, e.owner) &&
			!slices.Contains(n.ignored, e.owner) {
			_, what, _ := strings.Cut(o.Drop, "DROP ")
			o.SQL = append(o.SQL, "ALTER "+what+" OWNER TO "+quoted(e.owner))
		}
		list = append(list, o)
	}
	return list
}

// splitEntry returns the statements of an entry. A function or rule is one statement, even with
// semicolons in it.
func splitEntry(e entry) []string {
	switch e.kind {
	case "FUNCTION", "PROCEDURE", "AGGREGATE", "COMMENT":
		return []string{strings.TrimSuffix(strings.TrimSpace(e.create), ";")}
	}
	return pgmigrate.Statements(e.create)
}

// leftOut lists objects that do not describe the schema: an extension's own comment comes with its
// version, and a user mapping holds a password.
func leftOut(o Object) bool {
	switch o.Type {
	case "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES":
		return true // not the schema's
	}
	return o.Type == "USER MAPPING" || strings.HasPrefix(o.Name, "DATABASE ") ||
		o.Type == "COMMENT" && strings.HasPrefix(o.Name, "EXTENSION ")
}

// normalizer makes the dumps of two servers comparable.
type normalizer struct {
	migrators []string // become CURRENT_ROLE, so that the statement works for any migrating role
	ignored   []string // statements about them are left out
	noOwners  bool
}

var (
	sessionSetting = regexp.MustCompile(`^(SET [a-z_]+ = |SELECT pg_catalog\.set_config\()`)
	isOwner        = regexp.MustCompile(`^ALTER [^\n]* OWNER TO ("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)$`)
	isGrant        = regexp.MustCompile(`^(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES)\b[^\n]* ` +
		`(?:TO|FROM) ("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)(?: WITH GRANT OPTION)?$`)
	forRole = regexp.MustCompile(`^ALTER DEFAULT PRIVILEGES FOR ROLE ("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)`)
)

// normalize returns false for an object that is not compared.
func (n normalizer) normalize(sql string) (string, bool) {
	if sessionSetting.MatchString(sql) || n.noOwners && isOwner.MatchString(sql) {
		return "", false
	}
	for _, expression := range []*regexp.Regexp{isOwner, isGrant, forRole} {
		at := expression.FindStringSubmatchIndex(sql)
		if at == nil {
			continue
		}
		role := unquote(sql[at[2]:at[3]])
		switch {
		case slices.Contains(n.migrators, role) && expression == isOwner:
			return "", false // who makes an object owns it
		case slices.Contains(n.migrators, role):
			sql = sql[:at[2]] + "CURRENT_ROLE" + sql[at[3]:]
		case slices.Contains(n.ignored, role):
			return "", false
		}
	}
	return sql, true
}

func unquote(identifier string) string {
	if strings.HasPrefix(identifier, `"`) {
		return strings.ReplaceAll(identifier[1:len(identifier)-1], `""`, `"`)
	}
	return identifier
}

// canonical returns the same text for two objects that mean the same. The order of a table's
// columns, of its storage parameters and of grants does not count, because no statement changes it.
func (o Object) canonical() string {
	sql := slices.Clone(o.SQL)
	switch {
	case o.Type == "TABLE":
		known, aspects := o.aspects()
		sql = known
		for _, a := range aspects {
			sql = append(sql, a.set)
		}
	case o.Type == "FOREIGN TABLE", o.Type == "TYPE" && !o.isEnum():
		sql[0] = sortedLines(sql[0])
	}
	slices.Sort(sql)
	return o.AccessMethod + strings.Join(sql, ";\n")
}

func sortedLines(sql string) string {
	lines := strings.Split(sql, "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(strings.TrimSpace(lines[i]), ",")
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}

func (o Object) isEnum() bool { return o.Type == "TYPE" && strings.Contains(o.SQL[0], " AS ENUM (") }
