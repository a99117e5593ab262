package pgmigrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/tern/v2/migrate"

	"github.com/page-builder/persistence/pgmigrate/internal/sqlscan"
)

// source is the text of a migration file before its templates are rendered.
type source struct {
	name     string
	body     string
	up, down section
}

// section is the up or the down part of a file, trimmed as tern trims it.
type section struct {
	text     string
	line     int  // of the file, where text begins
	template bool // rendering changed it: lines of the SQL are not lines of the file
}

// lineAt returns the file's line of the byte at offset.
func (s section) lineAt(offset int) int {
	return s.line + strings.Count(s.text[:min(max(offset, 0), len(s.text))], "\n")
}

func newSource(name, body string) source {
	s := source{name: name, body: body}
	up, down, ok := strings.Cut(body, sectionMarker)
	s.up = newSection(body, up, 0)
	if ok {
		s.down = newSection(body, down, len(up)+len(sectionMarker))
	}
	return s
}

func newSection(body, part string, offset int) section {
	offset += len(part) - len(strings.TrimLeft(part, whitespace))
	return section{text: strings.TrimSpace(part), line: 1 + strings.Count(body[:offset], "\n")}
}

// whitespace holds what strings.TrimSpace removes as far as it occurs in SQL files.
const whitespace = " \t\n\v\f\r\u0085\u00a0"

func (s source) loaded(version int32, rendered *migrate.Migration) loadedMigration {
	m := loadedMigration{
		Migration: Migration{Version: version, Name: s.name, Up: rendered.UpSQL, Down: rendered.DownSQL},
		up:        s.up,
		down:      s.down,
	}
	if unstableTemplate.MatchString(s.body) {
		m.unstable = s.body
	}
	m.up.template = m.up.text != rendered.UpSQL
	m.down.template = m.down.text != rendered.DownSQL
	if !m.up.template {
		m.upLine = m.up.line
	}
	if !m.down.template {
		m.downLine = m.down.line
	}
	return m
}

// Functions of sprig whose value changes from time to time or from machine to machine.
var unstableTemplate = regexp.MustCompile(`\{\{(?:[^}]*[^}.$\w])?(?:now|ago|env|expandenv|rand\w+|uuidv4|gen[A-Z]\w+|` +
	`bcrypt|htpasswd|shuffle|getHostByName|encryptAES|keys|values)\b`)

var (
	// A line that is meant to be a marker, whatever the number of hyphens and the white space.
	almostDisableTx = regexp.MustCompile(`(?i)\A\s*-{2,}\s*tern\s*:\s*disable[-_ ]tx\s*-*\s*\z`)
	plainDown       = regexp.MustCompile(`(?i)\A\s*-{2,}[\s=+@!:]*(?:migrat\w*\W*)?(?:down|undo|rollback)[\s=:.-]*\z`)
	almostSection   = regexp.MustCompile(`(?i)\A\s*-{2,}\s*create above\s*/\s*drop below\s*-*\s*\z`)
)

// check finds what tern would pass over without a word.
func (s source) check() []Problem {
	var problems []Problem
	add := func(kind ProblemKind, line int, detail, hint string) {
		problems = append(problems, Problem{Kind: kind, File: s.name, Line: line, Detail: detail, Hint: hint})
	}

	switch {
	case strings.HasPrefix(s.body, "\ufeff"):
		add(ProblemByteOrderMark, 1, "the file begins with a byte order mark, a syntax error in SQL",
			"save it as UTF-8 without BOM")
	case strings.HasPrefix(s.body, "\xff\xfe"), strings.HasPrefix(s.body, "\xfe\xff"):
		add(ProblemByteOrderMark, 1, "the file is UTF-16", "save it as UTF-8 without BOM")
		return problems
	case !utf8.ValidString(s.body):
		// In a disable-tx section tern would even stop at this byte and drop the rest of the file.
		valid := strings.ToValidUTF8(s.body, "\x00")
		line := 1 + strings.Count(valid[:strings.IndexByte(valid, 0)], "\n")
		add(ProblemEncoding, line, "the line is not valid UTF-8", "save the file as UTF-8")
	case strings.Contains(s.body, "\x00"):
		add(ProblemEncoding, 1+strings.Count(s.body[:strings.IndexByte(s.body, 0)], "\n"), "the line holds a NUL byte",
			"save the file as UTF-8 text")
	}

	warn := func(line int, detail, hint string) {
		problems = append(problems,
			Problem{Kind: ProblemMarker, File: s.name, Line: line, Detail: detail, Hint: hint, Warning: true})
	}
	if !strings.Contains(s.body, sectionMarker) {
		for i, line := range strings.Split(s.body, "\n") {
			if almostSection.MatchString(line) || plainDown.MatchString(line) {
				warn(i+1, "the line is nearly tern's section marker, so the down section would run with the up section",
					fmt.Sprintf("write exactly %q", sectionMarker))
			}
		}
	}
	if at := strings.Index(s.down.text, sectionMarker); at >= 0 {
		add(ProblemMarker, s.down.lineAt(at), "the section marker is there twice: what follows would be a part of the "+
			"down section", "keep one of the two")
	}
	for _, part := range []section{s.up, s.down} {
		for i, line := range strings.Split(part.text, "\n") {
			switch {
			case line == disableTxMarker || !almostDisableTx.MatchString(line):
			case strings.TrimSuffix(line, "\r") == disableTxMarker:
				warn(part.line+i, "the disable-tx marker ends in CRLF, so tern does not see it",
					"save the file with LF line endings, and add \"*.sql text eol=lf\" to .gitattributes")
			default:
				warn(part.line+i, "the line is nearly tern's disable-tx marker, so tern does not see it",
					fmt.Sprintf("write exactly %q, with nothing else on the line", disableTxMarker))
			}
		}
	}
	return problems
}

// checkRendered finds what only shows after the templates have been filled in.
func (s source) checkRendered(m *migrate.Migration, data map[string]any) []Problem {
	var problems []Problem
	if !hasStatement(m.UpSQL) {
		problems = append(problems, Problem{
			Kind: ProblemEmptyUp, File: s.name, Line: s.up.line, Detail: "the up section has no statement",
			Hint: "add one, or \"select 1;\" for a migration that only has a down section", Warning: true,
		})
	}
	for _, r := range []struct {
		raw section
		sql string
	}{{s.up, m.UpSQL}, {s.down, m.DownSQL}} {
		// text/template's text for a key that the data does not have.
		if strings.Contains(r.sql, "<no value>") && !strings.Contains(r.raw.text, "<no value>") {
			problems = append(problems, Problem{
				Kind: ProblemTemplate, File: s.name, Line: r.raw.templateLine(),
				Detail:  r.raw.missingValue(data),
				Hint:    "pass it with WithData or --data, or write {{\"{{\"}} for two braces that are no template",
				Warning: true,
			})
		}
		// tern's statement splitter takes U+FFFD for the end of the file.
		if at := strings.IndexRune(r.sql, utf8.RuneError); at >= 0 && disableTx.MatchString(r.sql) {
			problems = append(problems, Problem{
				Kind: ProblemEncoding, File: s.name, Line: r.raw.lineAt(strings.IndexRune(r.raw.text, utf8.RuneError)),
				Detail: "a disable-tx section cannot hold the character U+FFFD: tern would drop what follows it",
				Hint:   "write it as U&'\\FFFD'", Warning: true,
			})
		}
		problems = append(problems, s.checkStatements(r.raw, r.sql)...)
	}
	return problems
}

// checkStatements finds what no server takes, and statements that mean something else where they
// are.
func (s source) checkStatements(raw section, sql string) []Problem {
	statements, faults := sqlscan.Split(sql)
	var problems []Problem
	first := 0
	if raw.text == sql {
		first = raw.line
	}
	lines := lineCounter{text: sql, line: first}
	transactional := !disableTx.MatchString(sql)
	open := 0 // the line where the section's own transaction begins, if it is open
	isOpen := false
	for _, statement := range statements {
		for len(faults) > 0 && faults[0].Offset < statement.Start {
			problems = append(problems, s.faultProblem(faults[0], &lines))
			faults = faults[1:]
		}
		p := Problem{File: s.name, Line: lines.at(statement.Start), Warning: true}
		switch {
		case statement.CopyData:
			p.Kind, p.Warning = ProblemCopy, false
			p.Detail = "COPY FROM STDIN or TO STDOUT needs a client that sends or takes the rows"
			p.Hint = "write INSERT, or load the rows with psql"
			return append(problems, p) // what follows are the rows
		case transactional && endsTransaction(statement):
			p.Kind, p.Detail = ProblemTransaction, strings.ToUpper(statement.Words[0])+
				" inside the migration's own transaction"
			p.Hint = "remove it; if the migration fails afterwards, what came before stays; or add the line " +
				disableTxMarker
		case !transactional && statement.Atomic:
			p.Kind, p.Detail = ProblemAtomicBody,
				"tern alone splits a body between BEGIN ATOMIC and END at its semicolons in a disable-tx section"
			p.Hint = "move it into a migration of its own without the marker, or quote the body as AS $$ … $$"
		case chains(statement):
			p.Kind = ProblemTransaction
			p.Detail = strings.ToUpper(statement.Words[0]) + " AND CHAIN: an interrupted run could not tell the " +
				"transaction before it from the one after it"
			p.Hint = "write COMMIT and BEGIN"
		case endsTransaction(statement):
			isOpen = statement.Words[0] == "begin" || statement.Words[0] == "start"
			open = p.Line
			continue
		default:
			continue
		}
		problems = append(problems, p)
	}
	for _, f := range faults {
		problems = append(problems, s.faultProblem(f, &lines))
	}
	lines.line, lines.passed = first, 0
	for _, c := range findDirectives(sql, statements) {
		detail, hint, warning := c.problem(statements)
		if raw == s.down && c.requires() {
			detail, hint = "the down section requires a backfill", "only an up section can: move the comment there"
		}
		if detail != "" {
			problems = append(problems, Problem{
				Kind: ProblemDirective, File: s.name, Line: lines.at(c.offset), Detail: detail, Hint: hint,
				Warning: warning,
			})
		}
	}
	if isOpen {
		problems = append(problems, Problem{
			Kind: ProblemTransaction, File: s.name, Line: open,
			Detail: "the transaction that begins here is never committed", Hint: "add COMMIT",
		})
	}
	return problems
}

func (s source) faultProblem(f sqlscan.Fault, lines *lineCounter) Problem {
	p := Problem{File: s.name, Line: lines.at(f.Offset)}
	p.Kind, p.Detail, p.Hint = faultProblem(f)
	return p
}

var (
	templateAction = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	templateField  = regexp.MustCompile(`(?:^|[\s({|,])\$?\.(\w+)`)
)

// missingValue names the values that the section's own actions ask for and data does not have.
func (s section) missingValue(data map[string]any) string {
	var missing []string
	for _, action := range templateAction.FindAllString(s.text, -1) {
		for _, field := range templateField.FindAllStringSubmatch(action, -1) {
			if _, ok := data[field[1]]; !ok && !slices.Contains(missing, field[1]) {
				missing = append(missing, field[1])
			}
		}
	}
	switch len(missing) {
	case 0:
		return "a template value has not been given"
	case 1:
		return "the template value " + missing[0] + " has not been given"
	default:
		return "the template values " + strings.Join(missing, ", ") + " have not been given"
	}
}

// templateLine returns the line of the first template action.
func (s section) templateLine() int {
	return s.lineAt(strings.Index(s.text, "{{"))
}
