package load

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/jackc/tern/v2/migrate"
)

// source is the text of a migration file before its templates are rendered.
type source struct {
	name     string
	number   int // 0 if tern cannot use it
	body     string
	up, down section
}

// section is the up or the down part of a file, trimmed as tern trims it.
type section struct {
	text string
	line int // where text begins in the file
}

// lineAt returns the file's line of the byte at offset.
func (s section) lineAt(offset int) int {
	return s.line + strings.Count(s.text[:min(max(offset, 0), len(s.text))], "\n")
}

func newSource(name, body string) source {
	s := source{name: name, body: body}
	up, down, ok := strings.Cut(body, SectionMarker)
	s.up = newSection(body, up, 0)
	if ok {
		s.down = newSection(body, down, len(up)+len(SectionMarker))
	}
	return s
}

func newSection(body, part string, offset int) section {
	// The part of what strings.TrimSpace removes that occurs in SQL files.
	const whitespace = " \t\n\v\f\r\u0085\u00a0"
	offset += len(part) - len(strings.TrimLeft(part, whitespace))
	return section{text: strings.TrimSpace(part), line: 1 + strings.Count(body[:offset], "\n")}
}

// Functions of sprig whose value changes over time or between machines.
var unstableTemplate = regexp.MustCompile(`\{\{(?:[^}]*[^}.$\w])?(?:now|ago|env|expandenv|rand\w+|uuidv4|gen[A-Z]\w+|` +
	`bcrypt|htpasswd|shuffle|getHostByName|encryptAES|keys|values)\b`)

func (s source) migration(version int32, rendered *migrate.Migration) Migration {
	m := Migration{Version: version, Name: s.name, Up: rendered.UpSQL, Down: rendered.DownSQL}
	if unstableTemplate.MatchString(s.body) {
		m.Unstable = s.body
	}
	if s.up.text == rendered.UpSQL {
		m.UpLine = s.up.line
	}
	if s.down.text == rendered.DownSQL {
		m.DownLine = s.down.line
	}
	return m
}

// Lines that are meant to be a marker, with other hyphens, white space or words.
var (
	almostDisableTx = regexp.MustCompile(`(?i)\A\s*-{2,}\s*tern\s*:\s*disable[-_ ]tx\s*-*\s*\z`)
	almostSection   = regexp.MustCompile(`(?i)\A\s*-{2,}\s*create above\s*/\s*drop below\s*-*\s*\z`)
	plainDown       = regexp.MustCompile(`(?i)\A\s*-{2,}[\s=+@!:]*(?:migrat\w*\W*)?` +
		`(?:downs?|undo|rollback|reverse|revert)[\s=:.-]*\z`)
)

// check finds what tern would ignore without a word.
func (s source) check() []Problem {
	if p, bad := checkEncoding(s.name, s.body); bad {
		return []Problem{p}
	}
	var problems []Problem
	add := func(warning bool, line int, detail, hint string) {
		problems = append(problems, Problem{File: s.name, Line: line, Detail: detail, Hint: hint, Warning: warning})
	}
	if onlyComments(s.up.text) {
		add(false, s.up.line, "the up section has no SQL", emptyHint)
	}
	if !strings.Contains(s.body, SectionMarker) {
		for i, line := range strings.Split(s.body, "\n") {
			if almostSection.MatchString(line) || plainDown.MatchString(line) {
				add(true, i+1,
					"the line is nearly tern's section marker, so the down section would run with the up section",
					fmt.Sprintf("write exactly %q", SectionMarker))
			}
		}
	}
	if at := strings.Index(s.down.text, SectionMarker); at >= 0 {
		add(false, s.down.lineAt(at),
			"the section marker is there twice: what follows would belong to the down section",
			"keep one of the two")
	}
	for _, part := range []section{s.up, s.down} {
		for i, line := range strings.Split(part.text, "\n") {
			switch {
			case line == DisableTx || !almostDisableTx.MatchString(line):
			case strings.TrimSuffix(line, "\r") == DisableTx:
				add(true, part.line+i, "the disable-tx marker ends in CRLF, so tern does not see it",
					"save the file with LF line endings, and add \"*.sql text eol=lf\" to .gitattributes")
			default:
				add(true, part.line+i, "the line is nearly tern's disable-tx marker, so tern does not see it",
					fmt.Sprintf("write exactly %q, with nothing else on the line", DisableTx))
			}
		}
	}
	return problems
}

// onlyComments is tern's own test for an empty section: it knows line comments only.
func onlyComments(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
			return false
		}
	}
	return true
}

// checkEncoding reports a file that is not plain UTF-8 text.
func checkEncoding(name, body string) (p Problem, bad bool) {
	p = Problem{File: name, Line: 1, Hint: "save it as UTF-8 without BOM"}
	at := strings.IndexByte(strings.ToValidUTF8(body, "\x00"), 0)
	switch {
	case strings.HasPrefix(body, "\xff\xfe"), strings.HasPrefix(body, "\xfe\xff"):
		p.Detail = "the file is UTF-16"
	case strings.HasPrefix(body, "\ufeff"):
		p.Detail = "the file begins with a byte order mark, a syntax error in SQL"
	case at >= 0:
		p.Line = 1 + strings.Count(body[:at], "\n")
		p.Detail, p.Hint = "the line holds a NUL byte", "save the file as UTF-8 text"
		if !utf8.ValidString(body) {
			p.Detail = "the line is not valid UTF-8"
		}
	default:
		return p, false
	}
	return p, true
}
