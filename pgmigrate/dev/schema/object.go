package schema

import (
	"regexp"
	"slices"
	"strings"

	"github.com/page-builder/persistence/pgmigrate"
)

// Object is an entry of a dump.
type Object struct {
	Type   string // pg_dump's word for it, such as TABLE, FK CONSTRAINT, COMMENT or ACL
	Schema string // "-" if it is in none
	Name   string // such as "pages", "pages pages_pkey", "f(integer)", "COLUMN pages.title"
	SQL    []string
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

var (
	header   = regexp.MustCompile(`(?m)^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: ?(.*)\n--\n`)
	restrict = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`) // psql's, with a random word
)

// parse cuts the text of a dump into objects. What comes before the first one is session settings
// and version numbers.
func parse(text string, n normalizer) []Object {
	text = restrict.ReplaceAllString(text, "")
	places := header.FindAllStringSubmatchIndex(text, -1)
	var objects []Object
	for i, at := range places {
		end := len(text)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		o := Object{Name: text[at[2]:at[3]], Type: text[at[4]:at[5]], Schema: text[at[6]:at[7]]}
		if leftOut(o) {
			continue
		}
		for _, sql := range pgmigrate.Statements(text[at[1]:end]) {
			if sql, ok := n.normalize(sql); ok {
				o.SQL = append(o.SQL, sql)
			}
		}
		if len(o.SQL) > 0 {
			objects = append(objects, o)
		}
	}
	return objects
}

// leftOut are objects that say nothing about the schema: an extension's own comment comes with its
// version, and a user mapping holds a password.
func leftOut(o Object) bool {
	return o.Type == "USER MAPPING" || o.Type == "COMMENT" && strings.HasPrefix(o.Name, "EXTENSION ")
}

// normalizer makes the dumps of two servers comparable.
type normalizer struct {
	migrators []string // become CURRENT_ROLE, so that the statement also says what is meant when it is run
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

// normalize returns false for what is not compared.
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

// canonical is the same for two objects that mean the same: the order of a table's columns, of its
// storage parameters and of grants does not count, because neither migrations nor pg-schema-diff
// can change it.
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
	return strings.Join(sql, ";\n")
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
