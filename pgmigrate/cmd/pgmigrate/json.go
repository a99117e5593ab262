package main

import (
	"encoding/json"
	"time"

	"github.com/page-builder/persistence/pgmigrate"
)

// The views fix the JSON, so that renaming a Go field does not change it.
type (
	statusView struct {
		Version    int32           `json:"version"`
		Latest     int32           `json:"latest"`
		Pending    int             `json:"pending"`
		Ahead      bool            `json:"ahead"`
		Tracked    bool            `json:"tracked"`
		Migrations []migrationView `json:"migrations"`
	}
	migrationView struct {
		Version       int32  `json:"version"`
		Name          string `json:"name"`
		Applied       bool   `json:"applied"`
		Reversible    bool   `json:"reversible"`
		Transactional bool   `json:"transactional"`
	}
	planView struct {
		Version int32          `json:"version"`
		Latest  int32          `json:"latest"`
		Ahead   bool           `json:"ahead"`
		Steps   []planStepView `json:"steps"`
	}
	planStepView struct {
		Version       int32  `json:"version"`
		Name          string `json:"name"`
		Transactional bool   `json:"transactional"`
		SQL           string `json:"sql"`
	}
	resultView struct {
		From       int32      `json:"from"`
		To         int32      `json:"to"`
		Latest     int32      `json:"latest"`
		Ahead      bool       `json:"ahead"`
		DurationMS float64    `json:"duration_ms"`
		Steps      []stepView `json:"steps"`
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
	}
	for _, m := range s.Migrations {
		v.Migrations = append(v.Migrations, migrationView{
			Version: m.Version, Name: m.Name, Applied: m.Applied,
			Reversible: m.Reversible(), Transactional: m.Transactional(pgmigrate.DirectionUp),
		})
	}
	return v
}

func newPlanView(p pgmigrate.Plan) planView {
	v := planView{Version: p.Version, Latest: p.Latest, Ahead: p.Ahead(), Steps: make([]planStepView, 0, len(p.Steps))}
	for _, s := range p.Steps {
		v.Steps = append(v.Steps, planStepView{
			Version: s.Version, Name: s.Name, Transactional: s.Transactional(pgmigrate.DirectionUp), SQL: masked(s.Up),
		})
	}
	return v
}

func newResultView(r pgmigrate.Result, err error) resultView {
	v := resultView{
		From: r.From, To: r.To, Latest: r.Latest, Ahead: r.Ahead(), DurationMS: milliseconds(r.Duration),
		Steps: make([]stepView, 0, len(r.Steps)),
	}
	for _, s := range r.Steps {
		v.Steps = append(v.Steps, stepView{
			Version: s.Version, Name: s.Name, Direction: string(s.Direction), DurationMS: milliseconds(s.Duration), Tries: s.Tries,
		})
	}
	if err != nil {
		v.Error = err.Error()
	}
	return v
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printJSON prints v and returns err, so that a failed run has its result on stdout and its exit code.
func (a *app) printJSON(v any, err error) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if encodeErr := e.Encode(v); err == nil {
		return encodeErr
	}
	return err
}
