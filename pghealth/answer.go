package pghealth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/page-builder/persistence/pgerr"
)

// answer is the body of application/health+json, draft-inadarei-api-health-check-06. category,
// figures, since, info and verbose are ours; the draft allows for more members.
type answer struct {
	Status status             `json:"status"`
	Info   map[string]any     `json:"info,omitempty"`
	Checks map[string][]entry `json:"checks,omitempty"`

	Verbose sections `json:"verbose,omitempty"` // only for who has the token

	encoded []byte // the public answer as JSON, if somebody has asked already
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

const mediaType = "application/health+json"

// respond sends the answer: as HTML to a browser, to HEAD without its body, and with what is not
// for the public to whoever asks for it with the token. An error is of the connection to the
// client.
func (p *Probe) respond(w http.ResponseWriter, r *http.Request, code int, a answer) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Authorization")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.opts.Token != "" && wantsVerbose(r) {
		if !p.opts.Token.admits(r) {
			h.Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the verbose form needs the header Authorization: Bearer and the token", http.StatusUnauthorized)
			return nil
		}
		a.Verbose, a.encoded = p.verbose(), nil
	}
	var body []byte
	if prefersHTML(r.Header.Get("Accept")) {
		body = a.page()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	} else {
		if body = a.encoded; body == nil {
			var err error
			if body, err = a.json(); err != nil {
				return err
			}
		}
		h.Set("Content-Type", mediaType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body)
	return err
}

func (a answer) json() ([]byte, error) {
	body, err := json.Marshal(a)
	if err != nil { // only what the application put into Info can do that
		a.Info = map[string]any{"error": "info cannot be written as JSON"}
		if body, err = json.Marshal(a); err != nil {
			return nil, err
		}
	}
	return append(body, '\n'), nil
}
