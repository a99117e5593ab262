package pghealth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// answer is the body of application/health+json, draft-inadarei-api-health-check-06. category, figures, since and info are
// ours; the draft allows for more members.
type answer struct {
	Status status             `json:"status"`
	Info   map[string]any     `json:"info,omitempty"`
	Checks map[string][]entry `json:"checks,omitempty"`
}

type entry struct {
	ComponentType string           `json:"componentType,omitempty"`
	ObservedValue *float64         `json:"observedValue,omitempty"`
	ObservedUnit  string           `json:"observedUnit,omitempty"`
	Status        status           `json:"status"`
	Category      pgerr.Category   `json:"category,omitempty"`
	Output        string           `json:"output,omitempty"`
	Figures       map[string]int64 `json:"figures,omitempty"`
	Time          *time.Time       `json:"time,omitempty"`
	Since         *time.Time       `json:"since,omitempty"`
}

func (c *check) entry(seen observation) entry {
	return entry{
		ComponentType: c.component,
		ObservedValue: seen.value, ObservedUnit: seen.unit, Figures: seen.figures,
		Status: seen.status, Category: seen.category, Output: seen.output,
		Time: timestamp(seen.time), Since: timestamp(seen.since),
	}
}

// timestamp is in UTC, to the millisecond.
func timestamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// worst is fail before warn before pass.
func worst(a, b status) status {
	switch {
	case a == fail || b == fail:
		return fail
	case a == warn || b == warn:
		return warn
	}
	return pass
}

// write sends the answer, to HEAD without its body. An error is of the connection to the client.
func (a answer) write(w http.ResponseWriter, r *http.Request, code int) error {
	body, err := json.Marshal(a)
	if err != nil { // only what the application put into Info can do that
		a.Info = map[string]any{"error": "info cannot be written as JSON"}
		if body, err = json.Marshal(a); err != nil {
			return err
		}
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/health+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(body)
	return err
}
