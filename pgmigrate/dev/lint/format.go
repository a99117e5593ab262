package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
)

// WriteText writes the report for a reader. dir is put before file names.
func (r Report) WriteText(w io.Writer, dir string) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s: %s: %s: %s\n", f.place(dir), f.Severity, f.Rule, f.Message)
		fmt.Fprintf(&b, "    %s\n", firstLines(f.Statement))
		fmt.Fprintf(&b, "  why: %s\n", f.Why)
		if f.Fix != "" {
			fmt.Fprintf(&b, "  instead:\n    %s\n", strings.ReplaceAll(f.Fix, "\n", "\n    "))
		}
		if f.allowable() {
			fmt.Fprintf(&b, "  if it is safe here, above the statement: %s\n", f.Allow())
		}
		b.WriteByte('\n')
	}
	b.WriteString(r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) summary() string {
	if len(r.Files) == 0 {
		return "no migrations to judge\n"
	}
	files := strings.Join(r.Files, ", ")
	if len(r.Files) > 3 {
		files = fmt.Sprintf("%s … %s", r.Files[0], r.Files[len(r.Files)-1])
	}
	on := fmt.Sprintf("PostgreSQL %d", r.Shadow)
	if r.Target != r.Shadow {
		on = fmt.Sprintf("PostgreSQL %d, for %d", r.Shadow, r.Target)
	}
	text := fmt.Sprintf("%d judged on %s (%s): %d errors, %d warnings, %d hints\n", len(r.Files), on, files,
		r.Count(SeverityError), r.Count(SeverityWarning), r.Count(SeverityHint))
	if n := len(r.Skipped); n > 0 {
		text += fmt.Sprintf("%d not judged after the failure: from %s on\n", n, r.Skipped[0])
	}
	return text
}

func (f Finding) place(dir string) string {
	file := path.Join(dir, f.File)
	if f.Line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, f.Line)
}

// allowable reports whether a comment may allow the rule. It cannot allow a faulty comment, or a
// migration that fails.
func (f Finding) allowable() bool {
	switch f.Rule {
	case "fails", "unused-allow", "unknown-rule", "allow-without-reason":
		return false
	default:
		return true
	}
}

func firstLines(sql string) string {
	lines := strings.Split(sql, "\n")
	if len(lines) > 4 {
		lines = append(lines[:3], "…")
	}
	return strings.Join(lines, "\n    ")
}

// The views fix the JSON, so that renaming a Go field does not change it.
type (
	reportView struct {
		Files      []string      `json:"files"`
		Skipped    []string      `json:"skipped"`
		PostgreSQL int           `json:"postgresql"`
		Target     int           `json:"target"`
		Errors     int           `json:"errors"`
		Warnings   int           `json:"warnings"`
		Hints      int           `json:"hints"`
		Findings   []findingView `json:"findings"`
	}
	findingView struct {
		Rule      string   `json:"rule"`
		Severity  Severity `json:"severity"`
		Version   int32    `json:"version"`
		File      string   `json:"file"`
		Line      int      `json:"line,omitempty"`
		Statement string   `json:"statement"`
		Message   string   `json:"message"`
		Why       string   `json:"why"`
		Fix       string   `json:"fix,omitempty"`
		Allow     string   `json:"allow,omitempty"`
	}
)

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer, dir string) error {
	v := reportView{
		Files: []string{}, Skipped: []string{}, PostgreSQL: r.Shadow, Target: r.Target, Findings: []findingView{},
		Errors: r.Count(SeverityError), Warnings: r.Count(SeverityWarning), Hints: r.Count(SeverityHint),
	}
	for _, name := range r.Files {
		v.Files = append(v.Files, path.Join(dir, name))
	}
	for _, name := range r.Skipped {
		v.Skipped = append(v.Skipped, path.Join(dir, name))
	}
	for _, f := range r.Findings {
		fv := findingView{
			Rule: f.Rule, Severity: f.Severity, Version: f.Version, File: path.Join(dir, f.File), Line: f.Line,
			Statement: f.Statement,
			Message:   f.Message, Why: f.Why, Fix: f.Fix,
		}
		if f.allowable() {
			fv.Allow = f.Allow()
		}
		v.Findings = append(v.Findings, fv)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteGitHub writes workflow commands, which GitHub shows next to the lines of a pull request. dir
// is the folder of the migrations, relative to the repository's root.
func (r Report) WriteGitHub(w io.Writer, dir string) error {
	var b strings.Builder
	level := map[Severity]string{SeverityError: "error", SeverityWarning: "warning", SeverityHint: "notice"}
	for _, f := range r.Findings {
		line := ""
		if f.Line > 0 {
			line = fmt.Sprintf(",line=%d", f.Line)
		}
		text := fmt.Sprintf("%s: %s", f.Message, f.Why)
		if f.Fix != "" {
			text += "\n\n" + f.Fix
		}
		fmt.Fprintf(&b, "::%s file=%s%s,title=%s::%s\n", level[f.Severity], property.Replace(path.Join(dir, f.File)),
			line, property.Replace(f.Rule), data.Replace(text))
	}
	b.WriteString(r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// What GitHub's runner decodes in workflow commands.
var (
	data     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
