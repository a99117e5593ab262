package lint

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/page-builder/persistence/pgmigrate"
)

// allowance is a comment that allows a rule.
type allowance struct {
	rule, reason string
	line         int // 0 if unknown
	statement    int // index of the statement it is for; -1: the whole section
	used         bool
}

var allowComment = regexp.MustCompile(`\A\s*--\s*pgmigrate:allow\b\s*(\S*)\s*(.*?)\s*\z`)

// allowances reads the comments of a section. A comment above a statement, or after it on its last
// line, applies to that statement. A comment at the top of the section, followed by an empty line,
// applies to all statements.
func allowances(sql string, statements []pgmigrate.Statement) []*allowance {
	var found []*allowance
	end := 0
	for i := range len(statements) + 1 {
		next := len(sql)
		if i < len(statements) {
			next = statements[i].Offset
		}
		gap := sql[end:next]
		lines := strings.Split(gap, "\n")
		for at, text := range lines {
			match := allowComment.FindStringSubmatch(strings.TrimPrefix(strings.TrimSpace(text), ";"))
			if match == nil {
				continue
			}
			a := &allowance{rule: match[1], reason: match[2], statement: i}
			switch {
			case i > 0 && at == 0:
				a.statement = i - 1
			case i == 0 && hasEmptyLine(lines[at:]):
				a.statement = -1
			}
			a.line = lineOf(sql, statements, end+len(strings.Join(lines[:at], "\n"))+min(at, 1))
			found = append(found, a)
		}
		if i < len(statements) {
			end = statements[i].Offset + len(statements[i].SQL)
		}
	}
	return found
}

func hasEmptyLine(lines []string) bool {
	for _, l := range lines[:len(lines)-1] {
		if strings.TrimSpace(l) == "" {
			return true
		}
	}
	return false
}

// lineOf returns the line of the byte at offset, counted from a statement with a known line.
func lineOf(sql string, statements []pgmigrate.Statement, offset int) int {
	if len(statements) == 0 || statements[0].Line == 0 {
		return 0
	}
	s := statements[0]
	if offset >= s.Offset {
		return s.Line + strings.Count(sql[s.Offset:offset], "\n")
	}
	return s.Line - strings.Count(sql[offset:s.Offset], "\n")
}

// allowed returns the findings that no comment allows, and those on the comments.
func (j *judge) allowed() []Finding {
	sql := j.migration.Up
	if j.direction == pgmigrate.DirectionDown {
		sql = j.migration.Down
	}
	statements := j.migration.Statements(j.direction)
	allows := allowances(sql, statements)
	var kept []Finding
	for _, f := range j.findings {
		if !matches(allows, statements, f) {
			kept = append(kept, f)
		}
	}
	for _, a := range allows {
		at := pgmigrate.Statement{
			Line: a.line, SQL: strings.TrimSpace(fmt.Sprintf("-- pgmigrate:allow %s %s", a.rule, a.reason)),
		}
		j.findings = nil
		_, known := ruleNamed(a.rule)
		switch {
		case !known:
			j.addAt(at, "unknown-rule", fmt.Sprintf("there is no rule %q", a.rule),
				"pgmigrate-dev lint --rules lists them.")
		case a.reason == "":
			j.addAt(at, "allow-without-reason", "gives no reason", at.SQL+" REASON")
		case !a.used:
			j.addAt(at, "unused-allow", fmt.Sprintf("nothing here is a finding of %s", a.rule),
				"Delete the comment, or move it above the statement that it is for.")
		}
		kept = append(kept, j.findings...)
	}
	return kept
}

func matches(allows []*allowance, statements []pgmigrate.Statement, f Finding) bool {
	matched := false
	for _, a := range allows {
		if a.rule != f.Rule || a.reason == "" || f.Rule == "fails" {
			continue
		}
		if a.statement == -1 || a.statement < len(statements) && statements[a.statement].Line == f.Line &&
			statements[a.statement].SQL == f.Statement {
			a.used, matched = true, true
		}
	}
	return matched
}
