package drift

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/page-builder/persistence/pgmigrate/dev/schema"
)

// WriteText writes the report as SQL: notes for a person as comments, and the statements that would
// repair the database.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Drifted() {
		fmt.Fprintf(&b, "-- The database differs from its migrations, which are at version %d.\n", r.Version)
		for _, c := range r.Difference.Objects {
			fmt.Fprintf(&b, "--   %s\n", comment(verbs[c.Verb()]+": "+c.Object().String()))
		}
	} else {
		fmt.Fprintf(&b, "-- The database is what its migrations make, at version %d.\n", r.Version)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "-- Note: %s.\n", comment(note))
	}
	if len(r.Plan.Statements) > 0 {
		b.WriteString("\n-- This would bring it back:\n")
	}
	for _, s := range r.Plan.Statements {
		b.WriteString("\n")
		for _, h := range s.Hazards {
			fmt.Fprintf(&b, "-- %s: %s\n", h.Type, comment(h.Message))
		}
		b.WriteString(s.SQL + ";\n")
	}
	for _, c := range r.Plan.Unexpressed {
		fmt.Fprintf(&b, "\n-- No statement is known for: %s. The database has -, the migrations make +.\n",
			comment(c.String()))
		for _, line := range differingLines(c) {
			b.WriteString("-- " + line + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// verbs describes a change from the database's side. Undoing it is the opposite.
var verbs = map[string]string{"create": "missing", "drop": "not in the migrations", "change": "different"}

// comment escapes text so that it cannot end its comment.
func comment(text string) string { return strings.Join(strings.Fields(text), " ") }

// differingLines returns the lines that only one side has.
func differingLines(c schema.Change) []string {
	text := func(o *schema.Object) []string {
		if o == nil {
			return nil
		}
		return strings.Split(strings.Join(o.SQL, ";\n"), "\n")
	}
	has, wants := text(c.From), text(c.To)
	count := map[string]int{}
	for _, line := range wants {
		count[line]++
	}
	var lines []string
	for _, line := range has {
		if count[line]--; count[line] < 0 {
			lines = append(lines, "- "+line)
		}
	}
	clear(count)
	for _, line := range has {
		count[line]++
	}
	for _, line := range wants {
		if count[line]--; count[line] < 0 {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

// WriteJSON writes the report as one object: version, drifted, objects, statements with sql and
// hazards, unexpressed, notes.
func (r *Report) WriteJSON(w io.Writer) error {
	type hazard struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	type statement struct {
		SQL     string   `json:"sql"`
		Hazards []hazard `json:"hazards"`
	}
	view := struct {
		Version     int32       `json:"version"`
		Drifted     bool        `json:"drifted"`
		Objects     []string    `json:"objects"`
		Statements  []statement `json:"statements"`
		Unexpressed []string    `json:"unexpressed"`
		Notes       []string    `json:"notes"`
	}{
		Version: r.Version, Drifted: r.Drifted(), Objects: []string{}, Statements: []statement{},
		Unexpressed: []string{},
		Notes:       append([]string{}, r.Notes...),
	}
	for _, c := range r.Difference.Objects {
		view.Objects = append(view.Objects, verbs[c.Verb()]+": "+c.Object().String())
	}
	for _, s := range r.Plan.Statements {
		v := statement{SQL: s.SQL, Hazards: []hazard{}}
		for _, h := range s.Hazards {
			v.Hazards = append(v.Hazards, hazard{h.Type, h.Message})
		}
		view.Statements = append(view.Statements, v)
	}
	for _, c := range r.Plan.Unexpressed {
		view.Unexpressed = append(view.Unexpressed, c.String())
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(view)
}
