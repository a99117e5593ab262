package load

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

var disableTx = regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(DisableTx) + `$`)

// Transactional reports whether tern runs the section in a transaction. The expression is tern's:
// its $ stands before \n only, so CRLF hides the marker.
func Transactional(sql string) bool { return !disableTx.MatchString(sql) }

// checkRendered finds what only shows after the templates have been filled in.
func (s source) checkRendered(m *migrate.Migration, data map[string]any) []Problem {
	problems := s.checkSection(s.up, m.UpSQL, data, false)
	if list, _ := sqlscan.Split(m.UpSQL); len(list) == 0 {
		problems = append(problems, Problem{
			File: s.name, Line: s.up.line, Detail: "the up section has no statement", Hint: emptyHint, Warning: true,
		})
	}
	return append(problems, s.checkSection(s.down, m.DownSQL, data, true)...)
}

// checkSection finds what no server accepts, and statements that mean something else where they
// are.
func (s source) checkSection(raw section, sql string, data map[string]any, down bool) []Problem {
	var problems []Problem
	add := func(warning bool, line int, detail, hint string) {
		problems = append(problems, Problem{File: s.name, Line: line, Detail: detail, Hint: hint, Warning: warning})
	}
	// text/template's text for a key that the data does not have.
	if strings.Contains(sql, "<no value>") && !strings.Contains(raw.text, "<no value>") {
		add(true, raw.lineAt(strings.Index(raw.text, "{{")), raw.missingValue(data),
			"pass it with WithData or --data, or write {{\"{{\"}} for two literal braces")
	}
	statements, faults := sqlscan.Split(sql)
	begin := sqlscan.Lines{Text: sql}
	if raw.text == sql { // no template has moved the lines
		begin.Line = raw.line
	}
	transactional, lines := Transactional(sql), begin
	rows := len(sql) // where the rows of a COPY begin
	open := -1       // where a transaction begins that the section does not end
	for _, statement := range statements {
		line := lines.At(statement.Start)
		if statement.CopyData {
			add(false, line, copyDetail, "write INSERT, or load the rows with psql")
			rows, open = statement.Start, -1
			break
		}
		if detail, hint := TransactionProblem(statement, transactional); detail != "" {
			add(true, line, detail, hint)
		} else if statement.EndsTransaction() {
			open = -1
			if statement.Words[0] == "begin" || statement.Words[0] == "start" {
				open = line
			}
		}
	}
	if open >= 0 {
		add(false, open, "the transaction that begins here is never committed", "add COMMIT")
	}
	lines = begin
	for _, f := range faults {
		if f.Offset < rows {
			detail, hint := describeFault(f)
			add(false, lines.At(f.Offset), detail, hint)
		}
	}
	lines = begin
	checked := map[int]bool{}
	for _, d := range Directives(sql, statements) {
		detail, hint, warning := d.problem(statements)
		if d.Name == "check" && detail == "" && checked[d.Statement] {
			detail, hint = "the query below has two checks", "keep one of the two comments"
		}
		checked[d.Statement] = checked[d.Statement] || d.Name == "check"
		if down && d.Requires() {
			detail, hint = "the down section requires a backfill", "only an up section can: move the comment there"
		}
		if detail != "" && d.Offset < rows {
			add(warning, lines.At(d.Offset), detail, hint)
		}
	}
	return problems
}

const copyDetail = "COPY FROM STDIN or TO STDOUT needs a client that sends or takes the rows"

// TransactionProblem says why a statement must not run in a section, "" if it may.
func TransactionProblem(s sqlscan.Statement, transactional bool) (detail, hint string) {
	switch {
	case transactional && s.EndsTransaction():
		return strings.ToUpper(s.Words[0]) + " inside the migration's own transaction",
			"remove it; if the migration fails afterwards, what came before stays; or add the line " + DisableTx
	case s.Chains():
		return strings.ToUpper(s.Words[0]) +
			" AND CHAIN: an interrupted run could not tell the transaction before it " +
			"from the one after it", "write COMMIT and BEGIN"
	default:
		return "", ""
	}
}

func describeFault(f sqlscan.Fault) (detail, hint string) {
	text := f.Text
	switch f.Kind {
	case sqlscan.Backslash:
		return text + " is a command of psql, not SQL", "write it as SQL, or run the file with psql"
	case sqlscan.UnclosedString, sqlscan.UnclosedIdentifier:
		text = text[:strings.IndexAny(text, `'"`)+1] // the rest may be a secret
	case sqlscan.UnclosedDollar:
		text = text[:1+strings.IndexByte(text[1:], '$')+1]
	}
	return "the " + string(f.Kind) + " that begins here with " + text + " has no end", "close it"
}

var (
	templateAction = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	templateField  = regexp.MustCompile(`(?:^|[\s({|,])\$?\.(\w+)`)
)

// missingValue names the values that the section's templates use and data does not have.
func (s section) missingValue(data map[string]any) string {
	var missing []string
	for _, action := range templateAction.FindAllString(s.text, -1) {
		for _, field := range templateField.FindAllStringSubmatch(action, -1) {
			if _, ok := data[field[1]]; !ok && !slices.Contains(missing, field[1]) {
				missing = append(missing, field[1])
			}
		}
	}
	if len(missing) == 0 {
		return "a template value is missing"
	}
	return "missing template value: " + strings.Join(missing, ", ")
}
