package harness

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// Report prints a run as Markdown and keeps its tables.
type Report struct {
	Out      io.Writer
	Tables   []Table
	sections []section
	missing  []string // comparisons that have not run yet
	versions []fact   // of software outside this program
}

// section is one printed comparison.
type section struct {
	comparison Comparison
	rounds     int // requested; it may take fewer
	took       time.Duration
	text       string
	failed     error // why it ended early
}

// Version reports the version of software that is not part of this program.
func (r *Report) Version(name, version string) { r.versions = append(r.versions, fact{name, version}) }

// Printf prints to the report.
func (r *Report) Printf(format string, args ...any) { _, _ = fmt.Fprintf(r.Out, format, args...) }

// Grid prints a title and a Markdown table with columns aligned for a terminal.
func (r *Report) Grid(title string, head []string, rows ...[]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], 3, min(utf8.RuneCountInString(cell), 40))
		}
	}
	r.Printf("\n%s\n\n", title)
	for i, row := range append([][]string{head}, rows...) {
		r.Printf("| %-*s |", widths[0], row[0])
		for column, cell := range row[1:] {
			r.Printf(" %*s |", widths[column+1], cell)
		}
		r.Printf("\n")
		if i == 0 {
			for _, width := range widths {
				r.Printf("|%s", strings.Repeat("-", width+2))
			}
			r.Printf("|\n")
		}
	}
}

// Gather keeps a table that the comparison prints itself.
func (r *Report) Gather(title string, rounds int, rows []Row) {
	for i, row := range rows {
		if row.Failed != nil {
			continue
		}
		rows[i].Time = spreadOf(row.Times)
		if rows[0].Failed == nil {
			rows[i].Ratio = row.ratioTo(rows[0])
		}
	}
	r.Tables = append(r.Tables, Table{Title: title, Rounds: rounds, Rows: rows})
}

// Add keeps a table and prints it. Times are for one of ops operations.
func (r *Report) Add(title string, rounds, ops int, rows []Row) {
	r.Gather(title, rounds, rows)
	cells := make([][]string, len(rows))
	for i, row := range rows {
		cells[i] = []string{row.Name, "failed", "", "", "", ""}
		if row.Failed != nil {
			continue
		}
		cells[i][1], cells[i][2] = shortOf(row.Time.Median), shortOf(row.Time.Q1)+"–"+shortOf(row.Time.Q3)
		if row.Ratio != (Spread{}) { // empty if the first side failed
			cells[i][3] = fmt.Sprintf("×%.2f", row.Ratio.Median)
			cells[i][4] = fmt.Sprintf("%.2f–%.2f", row.Ratio.Q1, row.Ratio.Q3)
		}
		if row.Allocs > 0 {
			cells[i][5] = fmt.Sprintf("%.0f", row.Allocs)
		}
	}
	r.Grid(fmt.Sprintf("%s (%d rounds of %d, %s)", title, rounds, ops, Cores()),
		[]string{"", "median", "quartiles", "ratio", "quartiles", "allocs"}, cells...)
	r.ExplainFailures(rows)
}

func shortOf(nanoseconds float64) string { return Short(time.Duration(nanoseconds)).String() }

// Cores says how many cores the machine has, for titles of figures that depend on it.
func Cores() string { return fmt.Sprintf("%d cores", runtime.NumCPU()) }

// ExplainFailures prints why sides failed, below their table.
func (r *Report) ExplainFailures(rows []Row) {
	between := "\n"
	for _, row := range rows {
		if row.Failed != nil {
			r.Printf("%s- %s failed: %s\n", between, row.Name, FirstWords(row.Failed.Error()))
			between = ""
		}
	}
}

// FirstWords returns the beginning of an error's text, on one line.
func FirstWords(text string) string {
	const enough = 150
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > enough {
		return string(line[:enough]) + "…"
	}
	return string(line)
}

// Failures returns the failed sides and comparisons.
func (r *Report) Failures() (all []error) {
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			if row.Failed != nil {
				all = append(all, fmt.Errorf("%s: %s, %s: %w", t.Comparison, t.Title, row.Name, row.Failed))
			}
		}
	}
	for _, s := range r.sections {
		if s.failed != nil {
			all = append(all, fmt.Errorf("%s: %w", s.comparison.Name, s.failed))
		}
	}
	return all
}

// IsOurs reports whether a side is one of this repository's modules.
func IsOurs(side string) bool {
	for _, module := range []string{"pgtx", "pgpool", "pgtest", "pgmigrate", "pghealth", "pgquery", "backfill"} {
		if after, ok := strings.CutPrefix(side, module); ok && !strings.HasPrefix(after, "db") { // pgtestdb is a peer
			return true
		}
	}
	return false
}
