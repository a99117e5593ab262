package pgmigrate

import (
	"fmt"
	"strings"
)

// ProblemKind tells the kinds of [Problem] apart.
type ProblemKind string

// The kinds of problems; testdata holds a folder for each.
const (
	ProblemNoMigrations  ProblemKind = "no migrations"
	ProblemUnreadable    ProblemKind = "unreadable"
	ProblemGap           ProblemKind = "gap"
	ProblemDuplicate     ProblemKind = "duplicate"
	ProblemNumberZero    ProblemKind = "number zero"
	ProblemNumberLarge   ProblemKind = "number too large" // timestamps too
	ProblemByteOrderMark ProblemKind = "byte order mark"
	ProblemEncoding      ProblemKind = "encoding"
	ProblemEmptyUp       ProblemKind = "empty up section"
	ProblemMarker        ProblemKind = "marker" // a line that is nearly one of tern's markers
	ProblemTemplate      ProblemKind = "template"
	// A statement that begins or ends one, in a section that runs in one.
	ProblemTransaction ProblemKind = "transaction"
	ProblemAtomicBody  ProblemKind = "atomic body" // BEGIN ATOMIC in a disable-tx section
	ProblemIgnored     ProblemKind = "ignored"     // a *.sql file that is no migration
	ProblemUnclosed    ProblemKind = "unclosed"    // a quote or a comment without an end
	ProblemPsql        ProblemKind = "psql"        // a command of psql, such as \copy
	ProblemForeign     ProblemKind = "foreign"     // a file of another migration tool
	ProblemDirective   ProblemKind = "directive"   // a comment -- pgmigrate:… that is unknown or incomplete
	ProblemCopy        ProblemKind = "copy"        // COPY FROM STDIN or TO STDOUT
)

// Problem is one thing in a migrations folder that tern could not run, or would run differently
// from what the file says.
type Problem struct {
	Kind   ProblemKind
	File   string // path inside the folder; "." for the folder itself
	Line   int    // counted from 1; 0 if the problem is not in one line
	Detail string // what is wrong
	Hint   string // what to do

	// Warning says that tern would run the folder, but differently from what the file says. Only
	// [WithStrict] makes it an error.
	Warning bool
}

func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Hint == "" {
		return place + ": " + p.Detail
	}
	return place + ": " + p.Detail + ": " + p.Hint
}

// FolderError reports everything that is wrong with a migrations folder.
type FolderError struct {
	Problems []Problem // by file name; never empty; warnings among them if there is an error, or under [WithStrict]
}

func (e *FolderError) Error() string {
	if len(e.Problems) == 1 {
		return "check migrations: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "check migrations: %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.String())
	}
	return b.String()
}
