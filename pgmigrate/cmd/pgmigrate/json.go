package main

import (
	"encoding/json"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// The views fix the JSON, so that renaming a Go field does not change it.
type (
	statusView struct {
		Version    int32            `json:"version"`
		Latest     int32            `json:"latest"`
		Pending    int              `json:"pending"`
		Ahead      bool             `json:"ahead"`
		Tracked    bool             `json:"tracked"`
		Migrations []migrationView  `json:"migrations"`
		Repeatable []repeatableView `json:"repeatable"`
		Dirty      *unfinishedView  `json:"dirty,omitempty"`
		Running    *unfinishedView  `json:"running,omitempty"`
	}
	repeatableView struct {
		Name    string `json:"name"`
		Applied bool   `json:"applied"`
	}
	migrationView struct {
		Version       int32  `json:"version"`
		Name          string `json:"name"`
		Applied       bool   `json:"applied"`
		Reversible    bool   `json:"reversible"`
		Transactional bool   `json:"transactional"`
		Checksum      string `json:"checksum"`

		// Of the history.
		AppliedAt  *time.Time `json:"applied_at,omitempty"`
		Role       string     `json:"role,omitempty"`
		Client     string     `json:"client,omitempty"`
		DurationMS float64    `json:"duration_ms,omitempty"`
		Action     string     `json:"action,omitempty"`
		Recorded   string     `json:"recorded_checksum,omitempty"`
		Edited     bool       `json:"edited,omitempty"`
	}
	unfinishedView struct {
		Version        int32     `json:"version"`
		Name           string    `json:"name"`
		Direction      string    `json:"direction"`
		Statement      int       `json:"statement"`
		Line           int       `json:"line"`
		StartedAt      time.Time `json:"started_at"`
		Role           string    `json:"role"`
		Client         string    `json:"client"`
		Repeatable     bool      `json:"repeatable"`
		InvalidIndexes []string  `json:"invalid_indexes"`
	}
	historyView struct {
		Entries []entryView `json:"entries"`
	}
	entryView struct {
		ID         int64     `json:"id"`
		Version    int32     `json:"version"`
		Name       string    `json:"name"`
		Action     string    `json:"action"`
		Progress   string    `json:"progress"`
		Checksum   string    `json:"checksum"`
		Statement  int       `json:"statement,omitempty"`
		Line       int       `json:"line,omitempty"`
		StartedAt  time.Time `json:"started_at"`
		DurationMS float64   `json:"duration_ms"`
		Role       string    `json:"role"`
		Client     string    `json:"client"`
	}
	seedView struct {
		Environment string   `json:"environment"`
		Run         []string `json:"run"`
		Skipped     []string `json:"skipped"`
		Error       string   `json:"error,omitempty"`
	}
	doneView struct {
		Version    int32  `json:"version"`
		Resolution string `json:"resolution,omitempty"`
		Error      string `json:"error,omitempty"`
	}
	planView struct {
		Version    int32                `json:"version"`
		Latest     int32                `json:"latest"`
		Ahead      bool                 `json:"ahead"`
		Steps      []planStepView       `json:"steps"`
		Repeatable []planRepeatableView `json:"repeatable"`
		Error      string               `json:"error,omitempty"`
	}
	planStepView struct {
		Version       int32  `json:"version"`
		Name          string `json:"name"`
		Transactional bool   `json:"transactional"`
		SQL           string `json:"sql"`
	}
	planRepeatableView struct {
		Name string `json:"name"`
		SQL  string `json:"sql"`
	}
	resultView struct {
		From       int32      `json:"from"`
		To         int32      `json:"to"`
		Latest     int32      `json:"latest"`
		Ahead      bool       `json:"ahead"`
		DurationMS float64    `json:"duration_ms"`
		Steps      []stepView `json:"steps"`
		Repeated   []string   `json:"repeated"`
		Error      string     `json:"error,omitempty"`
	}
	stepView struct {
		Version    int32   `json:"version"`
		Name       string  `json:"name"`
		Direction  string  `json:"direction"`
		DurationMS float64 `json:"duration_ms"`
		Tries      int     `json:"tries"`
	}
)

func newStatusView(s pgmigrate.Status) statusView {
	v := statusView{
		Version: s.Version, Latest: s.Latest, Pending: s.Pending(), Ahead: s.Ahead(), Tracked: s.Tracked,
		Migrations: make([]migrationView, 0, len(s.Migrations)),
		Repeatable: make([]repeatableView, 0, len(s.Repeatable)),
	}
	for _, f := range s.Repeatable {
		v.Repeatable = append(v.Repeatable, repeatableView{Name: f.Name, Applied: f.Applied})
	}
	for _, m := range s.Migrations {
		mv := migrationView{
			Version: m.Version, Name: m.Name, Applied: m.Applied,
			Reversible: m.Reversible(), Transactional: m.Transactional(pgmigrate.DirectionUp), Checksum: m.Checksum(),
			Role: m.Role, Client: m.Client, DurationMS: milliseconds(m.Duration), Action: string(m.Action),
			Recorded: m.Recorded, Edited: m.Edited,
		}
		if !m.AppliedAt.IsZero() {
			mv.AppliedAt = &m.AppliedAt
		}
		v.Migrations = append(v.Migrations, mv)
	}
	v.Dirty, v.Running = newUnfinishedView(s.Dirty), newUnfinishedView(s.Running)
	return v
}

func newUnfinishedView(u *pgmigrate.Unfinished) *unfinishedView {
	if u == nil {
		return nil
	}
	return &unfinishedView{
		Version: u.Version, Name: u.Name, Direction: string(u.Direction), Statement: u.Statement, Line: u.Line,
		StartedAt: u.StartedAt, Role: u.Role, Client: u.Client, Repeatable: u.Repeatable,
		InvalidIndexes: append([]string{}, u.InvalidIndexes...),
	}
}

func newHistoryView(entries []pgmigrate.Entry) historyView {
	v := historyView{Entries: make([]entryView, 0, len(entries))}
	for _, e := range entries {
		v.Entries = append(v.Entries, entryView{
			ID: e.ID, Version: e.Version, Name: e.Name, Action: string(e.Action), Progress: string(e.Progress),
			Checksum:  e.Checksum,
			Statement: e.Statement, Line: e.Line, StartedAt: e.StartedAt, DurationMS: milliseconds(e.Duration),
			Role: e.Role, Client: e.Client,
		})
	}
	return v
}

func newSeedView(environment string, r pgmigrate.SeedResult, err error) seedView {
	v := seedView{
		Environment: environment, Run: append([]string{}, r.Run...), Skipped: append([]string{}, r.Skipped...),
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func newPlanView(p pgmigrate.Plan, err error) planView {
	v := planView{
		Version: p.Version, Latest: p.Latest, Ahead: p.Ahead(), Steps: make([]planStepView, 0, len(p.Steps)),
		Repeatable: make([]planRepeatableView, 0, len(p.Repeatable)),
	}
	for _, f := range p.Repeatable {
		v.Repeatable = append(v.Repeatable, planRepeatableView{Name: f.Name, SQL: masked(f.Up)})
	}
	for _, s := range p.Steps {
		v.Steps = append(v.Steps, planStepView{
			Version: s.Version, Name: s.Name, Transactional: s.Transactional(pgmigrate.DirectionUp), SQL: masked(s.Up),
		})
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func newResultView(r pgmigrate.Result, err error) resultView {
	v := resultView{
		From: r.From, To: r.To, Latest: r.Latest, Ahead: r.Ahead(), DurationMS: milliseconds(r.Duration),
		Steps: make([]stepView, 0, len(r.Steps)), Repeated: append([]string{}, r.Repeated...),
	}
	for _, s := range r.Steps {
		v.Steps = append(v.Steps, stepView{
			Version: s.Version, Name: s.Name, Direction: string(s.Direction), DurationMS: milliseconds(s.Duration),
			Tries: s.Tries,
		})
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printJSON prints v and returns err, so that a failed run has its result on stdout and its exit
// code.
func (a *app) printJSON(v any, err error) error {
	a.printed = true
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if encodeErr := e.Encode(v); err == nil {
		return encodeErr
	}
	return err
}
